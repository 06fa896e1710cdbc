"""What a model trained here says of its input: a small JSON file inside the `.keras` archive, which Keras ignores."""

import json
import zipfile
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

from braintumor.models.labels import CLASSES

__all__ = ["CROPS", "SETTINGS_FILE", "Crop", "InputSettings", "read_settings", "write_settings"]

Crop = Literal["none", "head"]

CROPS: tuple[Crop, ...] = get_args(Crop)
"""What is cut off before an image is resized: nothing, or what lies around the head."""

SETTINGS_FILE: Final = "braintumor.json"
_SCHEMA: Final = "braintumor.model-input/1"


@dataclass(frozen=True, slots=True)
class InputSettings:
    """How images are brought to a model, and what its outputs mean.

    Attributes:
        crop: What is cut off before an image is resized, of `CROPS`.
        classes: Names of the outputs, in order; empty where nobody said.
    """

    crop: Crop = "none"
    classes: tuple[str, ...] = ()


def read_settings(archive: zipfile.ZipFile) -> InputSettings:
    """The settings in a `.keras` archive; the defaults where it has none.

    Raises:
        ValueError: The file is there and is something else.
    """
    if SETTINGS_FILE not in archive.namelist():
        return InputSettings()
    found: Any = json.loads(archive.read(SETTINGS_FILE))
    known: dict[str, Any] = found if isinstance(found, dict) else {}
    crop, classes = known.get("crop"), known.get("classes", [])
    named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    if known.get("schema") != _SCHEMA or crop not in CROPS or not named:
        raise ValueError(f"{SETTINGS_FILE} is not of schema {_SCHEMA}: {str(found)[:100]}")
    return InputSettings(crop, tuple(classes))


def write_settings(archive: zipfile.ZipFile, crop: Crop) -> None:
    """Add the settings of a model with the classes of this package."""
    text = json.dumps({"schema": _SCHEMA, **asdict(InputSettings(crop, CLASSES))})
    archive.writestr(SETTINGS_FILE, text)
