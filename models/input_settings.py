"""Input settings of a model trained here: a small JSON file inside the `.keras` archive, which Keras ignores."""

import json
import zipfile
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

from braintumor.models.labels import CLASSES

__all__ = ["CROPS", "SETTINGS_FILE", "Crop", "InputSettings", "read_settings", "write_settings"]

Crop = Literal["none", "head"]

CROPS: tuple[Crop, ...] = get_args(Crop)
"""Crops before an image is resized: none, or to the head."""

SETTINGS_FILE: Final = "braintumor.json"
_SCHEMA: Final = "braintumor.model-input/1"


@dataclass(frozen=True, slots=True)
class InputSettings:
    """The crop of a model's images, and the meaning of its outputs.

    Attributes:
        crop: Before an image is resized, of `CROPS`.
        classes: Names of the outputs, in order; empty where they are not known.
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
    content: Any = json.loads(archive.read(SETTINGS_FILE))
    settings: dict[str, Any] = content if isinstance(content, dict) else {}
    crop, classes = settings.get("crop"), settings.get("classes", [])
    valid_names = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    if settings.get("schema") != _SCHEMA or crop not in CROPS or not valid_names:
        raise ValueError(f"{SETTINGS_FILE} is not of schema {_SCHEMA}: {str(content)[:100]}")
    return InputSettings(crop, tuple(classes))


def write_settings(archive: zipfile.ZipFile, crop: Crop) -> None:
    """Add the settings of a model with the classes of this package."""
    text = json.dumps({"schema": _SCHEMA, **asdict(InputSettings(crop, CLASSES))})
    archive.writestr(SETTINGS_FILE, text)
