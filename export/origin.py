"""Assumptions of an export about a model, for its user to check."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["origin_lines"]

# Most models without a stated order were trained on the public data set's folders.
_KAGGLE: Final = "kaggle, if the folders were glioma, meningioma, notumor, pituitary"


def origin_lines(entry: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each assumption.

    Args:
        entry: A member's, of `bundle.json`.
    """
    source = entry["source"]
    if layer := source.get("scaled_by"):
        yield (
            f"scaled inside, by layer {layer!r}: pixels go in as 0..255; if they were x/255 in training as well, "
            "give `preprocess='unit'`"
        )
    if unit := source.get("unit"):
        other = next(name for name in source["classes"] if name != unit)
        yield f"one output unit: it is the probability of {unit}, and 1 minus it that of {other}"
    if not source["classes_stated"]:
        yield f"assumed class order: {', '.join(source['classes'])}; state it with `classes` ({_KAGGLE})"
