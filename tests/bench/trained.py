"""Small ensembles that are really trained, exported for real, and the labelled images that they tell apart."""

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from braintumor.bench.data.labelled import LabelledImages
from braintumor.bench.data.phantoms import phantoms
from braintumor.export import ExportOptions, MemberOptions, VerificationImages, export_bundle
from braintumor.export.bundle import write_bundle
from braintumor.models.labels import CLASSES
from braintumor.runtime.bundle.load import Bundle, load_bundle
from braintumor.runtime.image.geometry import Geometry
from tests.support.keras_worker import keras_in_this_process

SIDE = 32
WEIGHTS = {"a": 3.0, "b": 2.0}


def textured(count: int, *, seed: int, strength: float = 60.0) -> LabelledImages:
    """Phantoms with one of four textures, a class each: even, rows, columns, checks. Some are hard to see."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((SIDE, SIDE)) // 2 % 2 * 2 - 1
    textures = np.stack([np.zeros((SIDE, SIDE)), rows, columns, rows * columns])
    labels = np.arange(count) % len(CLASSES)
    drawn = phantoms(count, SIDE, SIDE, seed=seed).astype(float) * 0.5 + 60
    drawn += textures[labels] * strength * rng.uniform(0.1, 1, (count, 1, 1))
    images = np.clip(np.rint(drawn), 0, 255).astype(np.uint8)
    names = tuple(f"{index:04}.png" for index in range(count))
    return LabelledImages(Path("textured"), CLASSES, labels, names, tuple(images))


def train_head(source: Path, target: Path, images: LabelledImages, *, scaled_inside: bool) -> Path:
    """Fit the last layer of a small classifier to the images' classes, by logistic regression on its features."""
    import keras
    from sklearn.linear_model import LogisticRegression

    model = keras.saving.load_model(source, compile=False)
    pixels: NDArray[Any] = images.resized(Geometry(SIDE, SIDE))[..., np.newaxis].astype(np.float32)
    seen = pixels if scaled_inside else pixels / 127.5 - 1
    features = np.asarray(keras.Model(model.input, model.layers[-2].output)(seen), np.float64)
    # With features of about the same spread the solver converges; the spread then goes into the weights. These are
    # kept small: huge ones make rounding errors visible that no trained network shows.
    spread = features.std(axis=0) + 1e-3
    fitted = LogisticRegression(C=0.1, max_iter=5000).fit(features / spread, images.labels)
    model.get_layer("answer").set_weights([(fitted.coef_ / spread).T, fitted.intercept_])
    target.parent.mkdir(parents=True, exist_ok=True)
    model.save(target)
    return target


def exported(
    folder: Path, members: Mapping[str, Path], precision: Any = "fp32", **changes: Mapping[str, Any]
) -> Bundle:
    """Export by the real export; `changes` holds options of single members."""
    options = tuple(
        MemberOptions(path, name, WEIGHTS[name], **{"classes": CLASSES, **changes.get(name, {})})
        for name, path in members.items()
    )
    whole = ExportOptions(options, precision, folder, folder.name, VerificationImages((), 64), "bt-export")
    with keras_in_this_process():
        return export_bundle(whole)


def tampered(bundle: Bundle, folder: Path, name: str, change: Callable[[onnx.ModelProto], None]) -> Bundle:
    """A copy of a bundle in which one member's graph is another; its hashes are right."""
    member = next(member for member in bundle.members if member.name == name)
    model = onnx.load(str(member.path))
    change(model)
    changed = folder.with_name(f"{folder.name}.onnx")
    onnx.save(model, str(changed))
    entries: Sequence[dict[str, Any]] = copy.deepcopy([dict(member.details) for member in bundle.members])
    for entry in entries:
        entry["probe"] = None
        for key in ("file", "sha256", "size_bytes"):
            del entry[key]
    files = {member.name: changed if member.name == name else member.path for member in bundle.members}
    write_bundle(folder, name=folder.name, classes=bundle.classes, members=entries, files=files, command="tampered")
    return load_bundle(folder)


def initializers(model: onnx.ModelProto, ending: str = "") -> list[onnx.TensorProto]:
    """Constants of a graph whose name ends so."""
    return [value for value in model.graph.initializer if value.name.endswith(ending)]


def weights(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Kernels of its convolutions."""
    kernels = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    return [value for value in model.graph.initializer if value.name in kernels]


def rewrite(value: onnx.TensorProto, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """Change a constant in place."""
    before = array(value)
    value.CopyFrom(onnx.numpy_helper.from_array(change(before).astype(before.dtype), value.name))


def array(value: onnx.TensorProto) -> NDArray[Any]:
    """A constant's values."""
    values: NDArray[Any] = onnx.numpy_helper.to_array(value)
    return values
