"""Whether the classes that were named, or assumed, are as many as a model tells apart."""

from collections.abc import Sequence
from pathlib import Path

from braintumor.errors import ModelError

__all__ = ["require_class_count"]


def require_class_count(path: Path, outputs: int, classes: Sequence[str], *, stated: bool) -> None:
    """Refuse a model of another number of classes.

    Args:
        path: Of the model, for messages.
        outputs: Values that it gives for an image; one unit tells two classes apart, it stands for the second.
        classes: Their order.
        stated: Somebody said that it is this one; a model of one unit may be a regression otherwise.

    Raises:
        ModelError: They do not fit.
    """
    if len(classes) == max(outputs, 2) and (outputs > 1 or stated):
        return
    found = f"{path} gives {outputs} value{'s' if outputs > 1 else ''} an image"
    if stated:
        raise ModelError(
            f"{found}, and `classes` lists {len(classes)}: {','.join(classes)}",
            "list the classes of the model's outputs, in their order",
        )
    wanted = f"list its {outputs} classes in the order of the outputs with `classes`"
    if outputs == 1:
        wanted = "list its two classes with `classes`, last the one that 1 stands for"
    raise ModelError(
        f"{found}; without `classes` they are taken for {len(classes)}, {', '.join(classes)}",
        f"{wanted} (`new_classes` allows any names)",
    )
