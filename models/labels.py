"""The four classes, and the names that other people gave them."""

from collections.abc import Sequence

from braintumor.errors import UsageError

__all__ = ["CLASSES", "canonical_label", "class_permutation", "parse_classes"]

CLASSES = ("glioma", "healthy", "meningioma", "pituitary")

# Folder names met in public copies of the data set and in published models.
_ALIASES = {
    "glioma_tumor": "glioma",
    "meningioma_tumor": "meningioma",
    "pituitary_tumor": "pituitary",
    "no": "healthy",
    "no_tumor": "healthy",
    "normal": "healthy",
    "notumor": "healthy",
}


def canonical_label(name: str) -> str:
    """The name used here for a class that may go by another ("notumor" is "healthy")."""
    key = name.strip().lower().replace(" ", "_").replace("-", "_")
    return _ALIASES.get(key, key)


def parse_classes(text: str) -> tuple[str, ...]:
    """Read a class order such as "glioma,meningioma,notumor,pituitary".

    Raises:
        UsageError: Not four different names.
    """
    names = tuple(canonical_label(part) for part in text.split(",") if part.strip())
    if len(names) != len(CLASSES) or len(set(names)) != len(names):
        raise UsageError(
            f"--classes {text!r} gives {len(set(names))} different names; four are needed, in the order of the "
            f"model's outputs, for example: --classes {','.join(CLASSES)}"
        )
    return names


def class_permutation(source: Sequence[str], target: Sequence[str]) -> tuple[int, ...]:
    """Indices that bring outputs in `source` order to `target` order: target[i] == source[result[i]].

    Raises:
        UsageError: The two do not hold the same names.
    """
    if set(source) != set(target):
        raise UsageError(
            f"the classes {','.join(source)} are not those of the bundle, {','.join(target)}; members of one "
            "bundle must know the same classes: name each member's order with --classes"
        )
    return tuple(source.index(name) for name in target)
