"""Options of the members from what was typed: a value once for all models, or once per model in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from braintumor.errors import UsageError
from braintumor.export.options import MemberOptions
from braintumor.models.labels import CLASSES, parse_classes
from braintumor.models.vote_calibration import parse_vote
from braintumor.runtime.image.head import Crop
from braintumor.runtime.image.resize import Resize

__all__ = ["MemberArguments", "member_name", "member_options"]

# Of model files; what they hold is looked at, not their names.
_SUFFIXES: Final = (".keras", ".h5", ".hdf5")

# The largest side that a bundle may name.
_MAX_SIDE_PX: Final = 4096

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class MemberArguments:
    """Values as typed; a tuple holds none, one for all models, or one per model.

    Attributes:
        vote: Such as "1,2.5": a weight per model; None for equal ones.
        classes: Each such as "glioma,healthy" or "kaggle".
        new_classes: Unknown names in `classes` are kept.
        preprocess: As in `MemberOptions`.
        size: Each such as "224x224".
        resize: As in `MemberOptions`.
        crop: As in `MemberOptions`.
    """

    vote: str | None = None
    classes: tuple[str, ...] = ()
    new_classes: bool = False
    preprocess: tuple[str, ...] = ()
    size: tuple[str, ...] = ()
    resize: tuple[Resize, ...] = ()
    crop: tuple[Crop, ...] = ()


def member_options(models: Sequence[Path], arguments: MemberArguments) -> tuple[MemberOptions, ...]:
    """Options of each model, in order.

    Raises:
        UsageError: A value does not parse, is given too often, or a file has no usable name.
    """
    if arguments.new_classes and not arguments.classes:
        raise UsageError(
            "`new_classes` takes unknown names in `classes`, which is not given", "give both, or neither"
        )
    count = len(models)
    orders = [parse_classes(text, new=arguments.new_classes) for text in arguments.classes]
    sizes = [_size(text) for text in arguments.size]
    columns = zip(
        models,
        parse_vote(arguments.vote, count),
        _per_model("classes", orders, count, CLASSES),
        _per_model("preprocess", arguments.preprocess, count, "auto"),
        _per_model("size", sizes, count, None),
        _per_model("resize", arguments.resize, count, "antialias"),
        _per_model("crop", arguments.crop, count, None),
        strict=True,
    )
    return tuple(
        MemberOptions(path, member_name(path), weight, classes, preprocess, size, resize, bool(orders), crop)
        for path, weight, classes, preprocess, size, resize, crop in columns
    )


def member_name(path: Path) -> str:
    """The file's name without what the study puts around it: best_EfficientNetV2M.keras is EfficientNetV2M.

    Raises:
        UsageError: Nothing of it can name a folder.
    """
    stem = (path.stem if path.suffix.lower() in _SUFFIXES else path.name).removeprefix("best_")
    name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in stem).strip(".")
    # bundle.json is the one name in a bundle that is taken.
    if name in {"", "bundle.json"}:
        raise UsageError(f"{path} has no name that a member of a bundle can have", "rename it")
    return name


def _per_model(parameter: str, values: Sequence[Value], count: int, default: Value) -> list[Value]:
    if len(values) in {0, 1}:
        return [values[0] if values else default] * count
    if len(values) != count:
        raise UsageError(
            f"`{parameter}` is given {len(values)} times for {count} models",
            "give it once for all, or once per model in order",
        )
    return list(values)


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    if not all(side.isdecimal() and 1 <= int(side) <= _MAX_SIDE_PX for side in (height, width)):
        raise UsageError(
            f"`size` {text!r} is not a size; must be height and width in pixels, 1 to {_MAX_SIDE_PX}",
            "write it as in `size='224x224'`",
        )
    return int(height), int(width)
