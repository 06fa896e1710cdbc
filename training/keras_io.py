"""A `.keras` file: its predictions, and its weights on a coarse grid that compresses well."""

import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.data.manifest import EVALUATION_SPLITS, Split
from braintumor.bench.data.phantoms import phantoms
from braintumor.bench.data.recorded import PHANTOMS, RecordedAnswers, answers_path, pixels_sha256, write_answers
from braintumor.errors import ModelError, UsageError
from braintumor.files import sha256_of
from braintumor.models.input_settings import InputSettings, read_settings, write_settings
from braintumor.models.labels import CLASSES
from braintumor.optional import require
from braintumor.runtime.image.head import Crop
from braintumor.training.data.dataset import Dataset
from braintumor.training.keras_package import array_of, keras_module

__all__ = [
    "crop_of",
    "load_keras_file",
    "on_grid",
    "predict_images",
    "predict_parts",
    "record_predictions",
    "round_model",
    "save_compressed",
    "save_keras_file",
]

_BATCH = 32
_SUBNORMAL = 1e-30
_SAVE_AGAIN = "save it again with Keras 3"


def load_keras_file(path: Path) -> Any:
    """Read a grey classifier of the four classes; never runs code from the file.

    Raises:
        UsageError: There is no such file.
        ModelError: It is something else.
    """
    if not path.is_file():
        raise UsageError(f"{path} is not there", "name a .keras file")
    if path.suffix == ".keras" and not zipfile.is_zipfile(path):
        raise ModelError(f"{path} is not a Keras file, or only a part of one", _SAVE_AGAIN)
    keras = keras_module()
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} cannot be loaded ({type(error).__name__}: {error})", _SAVE_AGAIN) from error
    shape, classes = tuple(model.input_shape), model.output_shape[-1]
    if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 1 or classes != len(CLASSES):  # noqa: PLR2004
        raise ModelError(
            f"{path} takes {shape} and gives {classes} values; must be [batch, n, n, 1] and {len(CLASSES)}",
            "name a model that bt-train wrote",
        )
    return model


def predict_parts(model: Any, parts: Mapping[Split, Dataset], crop: Crop) -> dict[Split, NDArray[np.float32]]:
    """Predict the images for evaluation, cropped and resized to the model's input: float32 [n, 4] by split."""
    return {split: predict_images(model, parts[split], crop) for split in EVALUATION_SPLITS if split in parts}


def predict_images(model: Any, data: Dataset, crop: Crop) -> NDArray[np.float32]:
    """Predict images, cropped and resized to the model's input: probabilities float32 [n, 4]."""
    size = int(model.input_shape[1])
    images = data.resized(size, crop).images
    chunks = []
    for start in range(0, len(images), _BATCH):
        chunk = images[start : start + _BATCH]
        # The last batch is filled up: another shape would be compiled anew.
        full = np.zeros((_BATCH, size, size, 1), np.float32)
        full[: len(chunk), ..., 0] = chunk
        chunks.append(np.asarray(model.predict_on_batch(full))[: len(chunk)])
    return np.concatenate(chunks)


def record_predictions(path: Path) -> Path:
    """Write the predictions of Keras for phantoms beside the file of a grey classifier that scales inside.

    Returns:
        The file that was written.

    Raises:
        OutputError: It cannot be written.
    """
    model = load_keras_file(path)
    size = int(model.input_shape[1])
    images = phantoms(PHANTOMS, size, size)
    outputs = np.asarray(model.predict(images[..., np.newaxis].astype(np.float32), batch_size=_BATCH, verbose=0))
    keras = keras_module()
    answered_by = f"Keras {keras.__version__}, {keras.backend.backend()}"
    target = answers_path(path)
    write_answers(RecordedAnswers(sha256_of(path), answered_by, pixels_sha256(images), outputs), target)
    return target


def on_grid(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Round kernels to fewer than 2^bits levels per output channel; smaller arrays (biases, BatchNorm) stay.

    The step of a channel is a power of two, so that a rounded weight has `bits - 1` significant bits at most
    and the rest of its float32 is zeros: that is what compresses.

    Args:
        values: float32, output channels last.
        bits: 2 and more.
    """
    if values.ndim < 2:  # noqa: PLR2004
        return values
    largest = np.abs(values).max(axis=tuple(range(values.ndim - 1)), keepdims=True)
    step = np.exp2(np.ceil(np.log2(np.maximum(largest, _SUBNORMAL) / (2 ** (bits - 1) - 1))))
    rounded: NDArray[np.float32] = (np.round(values / step) * step).astype(np.float32)
    return rounded


def round_model(model: Any, bits: int) -> None:
    """Put a model's kernels on the grid, in place."""
    for variable in model.weights:
        variable.assign(on_grid(array_of(variable), bits))


def save_keras_file(model: Any, path: Path, crop: Crop) -> None:
    """Write a standard `.keras` file that says how images are brought to the model.

    Raises:
        OSError: It cannot be written.
    """
    model.save(path)
    with zipfile.ZipFile(path, "a") as archive:
        write_settings(archive, crop)


def crop_of(path: Path) -> Crop:
    """Read what is cut off before an image is resized for a model; "none" where its file does not say.

    Raises:
        ModelError: The file is damaged.
    """
    if not zipfile.is_zipfile(path):
        return InputSettings().crop
    try:
        with zipfile.ZipFile(path) as archive:
            return read_settings(archive).crop
    except (ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} is a damaged .keras file ({error})", "save or copy it again") from error


def save_compressed(model: Any, path: Path, crop: Crop) -> None:
    """Do as `save_keras_file`, with the weights stored with HDF5's own byte shuffle and gzip."""
    h5py = require("h5py", extra="train", purpose="writing compressed weights")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        plain, small = Path(folder) / "plain.keras", Path(folder) / "small.keras"
        save_keras_file(model, plain, crop)
        with zipfile.ZipFile(plain) as source, zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED) as target:
            for name in source.namelist():
                data = source.read(name)
                if name.endswith(".h5"):
                    data = _compressed_h5(h5py, data, Path(folder))
                target.writestr(name, data)
        small.replace(path)


def _compressed_h5(h5py: Any, data: bytes, folder: Path) -> bytes:
    before, after = folder / "before.h5", folder / "after.h5"
    before.write_bytes(data)
    with h5py.File(before, "r") as source, h5py.File(after, "w") as target:
        _copy(h5py, source, target)
    return after.read_bytes()


def _copy(h5py: Any, source: Any, target: Any) -> None:
    for key, value in source.attrs.items():
        target.attrs[key] = value
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            _copy(h5py, item, target.create_group(name))
            continue
        # Scalars cannot be chunked, and small arrays would grow.
        options = {"compression": "gzip", "compression_opts": 9, "shuffle": True} if item.size > 1024 else {}  # noqa: PLR2004
        copied = target.create_dataset(name, data=item[()], **options)
        for key, value in item.attrs.items():
            copied.attrs[key] = value
