"""The four classes, and the names that other people gave them."""

import difflib
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from braintumor.errors import UsageError

__all__ = ["CLASSES", "ORDERS", "canonical_label", "class_permutation", "parse_classes", "usual_order"]

CLASSES = ("glioma", "healthy", "meningioma", "pituitary")

ORDERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    # Keras numbers folders by name: glioma, meningioma, notumor, pituitary.
    {"kaggle": ("glioma", "meningioma", "healthy", "pituitary")}
)
"""Named class orders."""

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


def parse_classes(text: str, *, new: bool = False) -> tuple[str, ...]:
    """Read a class order such as "glioma,meningioma,notumor,pituitary", or the name of one in `ORDERS`.

    Args:
        text: Names with commas between them.
        new: Take names that are not known here as they are.

    Raises:
        UsageError: Not two or more different names, or one that is not known.
    """
    if (order := ORDERS.get(text.strip().lower())) is not None:
        return order
    names = tuple(canonical_label(part) for part in text.split(",") if part.strip())
    if not 1 < len(names) == len(set(names)):
        raise UsageError(
            f"`classes` {text!r} has {len(set(names))} different names of {len(names)}; must be 2 or more, each once",
            f"list the classes in the order of the model's outputs, as in `classes='{','.join(CLASSES)}'`",
        )
    if unprintable := [name for name in names if not name.isprintable()]:
        raise UsageError(f"`classes` {text!r}: {unprintable[0]!r} is not printable", "use letters, digits and _")
    if not new and (unknown := [name for name in names if name not in CLASSES]):
        raise UsageError(
            f"`classes` {text}: {'; '.join(map(_suggestion, unknown))}; known are {', '.join(CLASSES)} and, for "
            f"healthy, {', '.join(key for key, name in _ALIASES.items() if name == 'healthy')}",
            "correct the name, or add `new_classes=True` to keep it",
        )
    return names


def _suggestion(name: str) -> str:
    """The unknown name with the known one that it looks like."""
    # A first letter is seldom mistyped, and "tumor" is not to become "no_tumor".
    known = [key for key in (*CLASSES, *_ALIASES) if key[0] == name[0]]
    if not (close := difflib.get_close_matches(name, known, n=1)):
        return f"{name} is not a known class"
    label = canonical_label(close[0])
    return f"{name}: did you mean {close[0]}{'' if label == close[0] else f' ({label})'}?"


def usual_order(classes: Sequence[str]) -> tuple[str, ...]:
    """The order in which answers of several sources are compared: `CLASSES`, or the alphabet for other classes."""
    return CLASSES if set(classes) == set(CLASSES) else tuple(sorted(classes))


def class_permutation(source: Sequence[str], target: Sequence[str]) -> tuple[int, ...]:
    """Indices that bring outputs in `source` order to `target` order: target[i] == source[result[i]].

    Raises:
        UsageError: The two do not hold the same names.
    """
    if set(source) != set(target):
        raise UsageError(
            f"the classes {','.join(source)} are not those of the bundle, {','.join(target)}; members of one "
            "bundle must have the same classes",
            "give each member's order with `classes`",
        )
    return tuple(source.index(name) for name in target)
