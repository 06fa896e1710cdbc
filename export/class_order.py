"""The number of classes that were named, or assumed, compared with the outputs of a model."""

from collections.abc import Sequence
from pathlib import Path

from braintumor.errors import ModelError

__all__ = ["require_class_count"]


def require_class_count(path: Path, outputs: int, classes: Sequence[str], *, stated: bool) -> None:
    """Refuse a model of another number of classes.

    Args:
        path: Of the model, for messages.
        outputs: Number of its outputs; one unit separates two classes, and stands for the second.
        classes: Their order.
        stated: The order was named; a model of one unit may be a regression otherwise.

    Raises:
        ModelError: The numbers differ.
    """
    if len(classes) == max(outputs, 2) and (outputs > 1 or stated):
        return
    summary = f"{path} gives {outputs} value{'s' if outputs > 1 else ''} an image"
    if stated:
        raise ModelError(
            f"{summary}, and `classes` lists {len(classes)}: {','.join(classes)}",
            "list the classes of the model's outputs, in their order",
        )
    remedy = f"list its {outputs} classes in the order of the outputs with `classes`"
    if outputs == 1:
        remedy = "list its two classes with `classes`, last the one that 1 stands for"
    raise ModelError(
        f"{summary}; without `classes` they are taken for {len(classes)}, {', '.join(classes)}",
        f"{remedy} (`new_classes` allows any names)",
    )
