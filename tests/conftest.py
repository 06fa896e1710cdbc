"""What all tests share: a cache of their own, small Keras models, the real images where they are."""

import csv
import hashlib
import json
import os
import signal
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from braintumor.bench.data.phantoms import phantoms
from braintumor.models.catalog import ENSEMBLE
from braintumor.models.labels import CLASSES
from braintumor.runtime.engines.signal_stack import signal_stack_kept
from braintumor.runtime.image.decode import DECODE_VERSION

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
PRETRAINED = ROOT / "models" / "pretrained"

GREY_LEVELS = (30, 90, 150, 210)

# Programs that a shell starts in the background ignore Ctrl-C, and so would all that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing here may depend on what the user who runs the tests has set or cached.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for the whole run, so that a model that two tests need is converted once."""
    base = tmp_path_factory.getbasetemp()
    # The processes of pytest-xdist have folders below that of the run.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAINTUMOR_CACHE", str(folder))
        patch.delenv("BRAINTUMOR_DATA", raising=False)
        patch.delenv("BRAINTUMOR_BUNDLE", raising=False)
        yield folder


@pytest.fixture(autouse=True)
def own_signal_stack() -> Iterator[None]:
    """What a test that calls OpenVINO itself does to it must not meet the tests that interrupt."""
    with signal_stack_kept():
        yield


@pytest.fixture(scope="session")
def shipped_model() -> Path:
    """The trained DenseNet121 that comes with the package."""
    return PRETRAINED / "DenseNet121.keras"


@pytest.fixture(scope="session")
def shipped_models() -> list[Path]:
    """The trained ensemble that comes with the package: what `bt-export` takes when no model is named."""
    return sorted(path for path in PRETRAINED.glob("*.keras") if path.stem in ENSEMBLE)


@pytest.fixture(scope="session")
def test_split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 703 real test images, as <class>/<file>; skips where the data is not."""
    return _extract_split(tmp_path_factory, "test")


@pytest.fixture(scope="session")
def val_split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 702 real validation images, as <class>/<file>; skips where the data is not."""
    return _extract_split(tmp_path_factory, "val")


def _extract_split(factory: pytest.TempPathFactory, split: str) -> Path:
    archive, manifest = SHARED_DATA / "brain-mri-224.zip", SHARED_DATA / "manifest.csv"
    if not archive.is_file():
        pytest.skip(f"the real images are not at {SHARED_DATA}")
    folder = factory.mktemp(split)
    with manifest.open(newline="") as stream, zipfile.ZipFile(archive) as images:
        for row in csv.DictReader(stream):
            if row["split"] == split:
                target = folder / row["file"]
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(images.read(f"brain-mri-224/{row['file']}"))
    return folder


@pytest.fixture(scope="session")
def forged() -> Callable[..., Path]:
    """Writes a bundle of ONNX files (name → bytes), with fitting hashes, as a forger would."""

    def write(folder: Path, models: Mapping[str, bytes], *, side: int, weights: Sequence[float]) -> Path:
        members = []
        for (name, raw), weight in zip(models.items(), weights, strict=True):
            path = folder / name / "model.onnx"
            path.parent.mkdir(parents=True)
            path.write_bytes(raw)
            members.append(
                {
                    "name": name,
                    "weight": weight,
                    "height": side,
                    "width": side,
                    "resize": "antialias",
                    "precision": "fp32",
                    "file": f"{name}/model.onnx",
                    "sha256": hashlib.sha256(raw).hexdigest(),
                    "size_bytes": len(raw),
                    "source": {},
                    "opset": 18,
                    "tools": {},
                    "parity": {},
                }
            )
        manifest = {
            "schema": "braintumor.bundle/1",
            "name": folder.name,
            "classes": list(CLASSES),
            "decode_version": DECODE_VERSION,
            "fusion": "soft-vote",
            "members": members,
            "command": "by hand",
        }
        (folder / "bundle.json").write_text(json.dumps(manifest))
        return folder

    return write


@pytest.fixture(scope="session")
def phantom_files(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Path]]:
    """Writes phantoms as PNG files: so many, of this height and width."""

    def write(count: int, height: int, width: int, *, seed: int) -> list[Path]:
        folder = tmp_path_factory.mktemp("scans")
        paths = [folder / f"scan{index:02}.png" for index in range(count)]
        for path, pixels in zip(paths, phantoms(count, height, width, seed=seed), strict=True):
            Image.fromarray(pixels).save(path)
        return paths

    return write


KerasFactory = Callable[..., Path]


@pytest.fixture(scope="session")
def small_keras(tmp_path_factory: pytest.TempPathFactory) -> KerasFactory:
    """Builds small, decided Keras classifiers with every structure that the real ones have."""
    folder = tmp_path_factory.mktemp("keras")
    made: dict[tuple[Any, ...], Path] = {}

    def make(
        name: str = "small",
        *,
        size: tuple[int | None, int | None] = (32, 32),
        channels: int = 1,
        scaling: bool = True,
        head: str = "softmax",
        classes: int = 4,
        seed: int = 0,
    ) -> Path:
        key = (name, size, channels, scaling, head, classes, seed)
        if key not in made:
            path = folder / str(len(made)) / f"{name}.keras"
            path.parent.mkdir(exist_ok=True)
            _small_classifier(size, channels, scaling, head, classes, seed).save(path)
            made[key] = path
        return made[key]

    return make


def _small_classifier(
    size: tuple[int | None, int | None], channels: int, scaling: bool, head: str, classes: int, seed: int
) -> Any:
    """Convolution + BatchNorm + SiLU, a squeeze-excite block, a pre-activation BatchNorm as in DenseNet, a head."""
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(seed)
    image = keras.Input((*size, channels), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(image) if scaling else image
    if channels == 1:
        x = layers.Concatenate()([x, x, x])
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.Activation("swish")(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.Activation("swish")(layers.BatchNormalization()(x))
    squeezed = layers.Reshape((1, 1, 16))(layers.GlobalAveragePooling2D()(x))
    squeezed = layers.Conv2D(4, 1, activation="swish")(squeezed)
    x = layers.Multiply()([x, layers.Conv2D(16, 1, activation="sigmoid")(squeezed)])
    dense = layers.Conv2D(16, 3, padding="same")(layers.Activation("relu")(layers.BatchNormalization()(x)))
    x = layers.Concatenate()([x, dense])
    x = layers.GlobalAveragePooling2D()(layers.Activation("relu")(layers.BatchNormalization()(x)))
    activation = None if head == "logits" else head
    model = keras.Model(image, layers.Dense(classes, activation=activation, name="answer")(x), name="small")
    _decide(model, seed, scaling)
    return model


def _decide(model: Any, seed: int, scaling: bool) -> None:
    """Give BatchNorms trained-looking statistics and the head enough contrast to tell phantoms apart."""
    import keras

    rng = np.random.default_rng(seed)
    size = tuple(side or 32 for side in model.inputs[0].shape[1:3])
    images = np.repeat(phantoms(64, *size)[..., np.newaxis], model.inputs[0].shape[-1], axis=-1).astype(np.float32)
    seen = images if scaling else images / 127.5 - 1
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        shape = layer.gamma.shape
        layer.momentum = 0.0
        layer.gamma.assign(rng.uniform(0.5, 1.5, shape))
        layer.beta.assign(rng.normal(0, 0.3, shape))
    # With momentum 0 a pass in training mode leaves the phantoms' own statistics behind. A network whose layers
    # shrink the signal would need a huge head, which makes rounding errors visible that no trained network shows.
    model(seen, training=True)
    for layer in norms:
        layer.momentum = 0.99
    features = keras.Model(model.input, model.layers[-2].output)(seen)
    spread: NDArray[np.float32] = np.asarray(features)
    # Along the features' main directions, for the same reason.
    directions = np.linalg.svd(spread - spread.mean(axis=0), full_matrices=False)[2]
    kernel = directions[:4].T @ rng.normal(size=(4, model.outputs[0].shape[-1]))
    logits = spread @ kernel
    kernel *= 3.0 / logits.std(axis=0)
    bias = -(spread @ kernel).mean(axis=0)
    model.get_layer("answer").set_weights([kernel, bias])


@pytest.fixture(scope="session")
def grey_level_keras(tmp_path_factory: pytest.TempPathFactory) -> KerasFactory:
    """Builds classifiers of x/255 that tell images by their mean: that of output i is nearest to level i."""

    def make(*, levels: Sequence[int] = GREY_LEVELS, head: str = "softmax", channels: int = 3) -> Path:
        import keras

        layers = keras.layers
        image = keras.Input((32, 32, channels))
        answer = layers.Dense(len(levels), activation=None if head == "logits" else head)
        model = keras.Model(image, answer(layers.GlobalAveragePooling2D()(image)))
        # The nearest level wins: -s (x - k)^2 without what all have, which would only cost digits.
        near = np.array(levels) / 255
        sharpness = 2.5 / (near[1] - near[0]) ** 2
        kernel, bias = 2 * sharpness * near, -sharpness * near**2
        kernel = np.repeat(((kernel - kernel.mean()) / channels)[np.newaxis], channels, 0)
        answer.set_weights([kernel.astype(np.float32), (bias - bias.mean()).astype(np.float32)])
        path = tmp_path_factory.mktemp("grey") / "grey.keras"
        model.save(path)
        return path

    return make


@pytest.fixture(scope="session")
def grey_level_images(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes noisy images of these folders' mean grey levels, in their order, as <folder>/<number>.png."""

    def write(names: Sequence[str], *, count: int = 3, levels: Sequence[int] = GREY_LEVELS) -> Path:
        folder = tmp_path_factory.mktemp("levels")
        rng = np.random.default_rng(0)
        for name, level in zip(names, levels, strict=True):
            (folder / name).mkdir()
            for index in range(count):
                pixels = np.clip(rng.normal(level, 12, (32, 32)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{index:03}.png")
        return folder

    return write
