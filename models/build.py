"""Keras classifiers built from a catalog entry. Independent of the Keras backend."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braintumor.errors import UnavailableError, UsageError
from braintumor.models.catalog import CATALOG
from braintumor.models.labels import CLASSES
from braintumor.models.spec import ModelSpec, SpecPreprocess
from braintumor.optional import require

__all__ = ["CAFFE_MEAN_BGR", "IMAGENET_MEAN", "IMAGENET_STD", "build_classifier", "is_own"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
"""In grey levels, blue first: Caffe's models saw neither scaled nor reordered pixels of OpenCV."""

_INPUT = "image"
_HEAD = ("pool", "dropout", "probabilities")


def build_classifier(
    spec: ModelSpec,
    *,
    height: int | None = None,
    width: int | None = None,
    channels: int = 1,
    weights: str | Path | None = "imagenet",
    dropout: float = 0.3,
) -> Any:
    """Build `spec` as a classifier: 0..255 in, scaling inside, softmax over `CLASSES` out.

    Args:
        spec: An entry of the catalog.
        height: Input height in pixels; the spec's when None.
        width: Input width in pixels; the spec's when None.
        channels: 1 for grey (repeated to three inside) or 3 for RGB.
        weights: "imagenet" (Keras fetches the backbone's weights over the network), a path of `.weights.h5`
            for the whole classifier, or None for random initial weights.
        dropout: Rate before the last layer, 0 up to but not including 1.

    Returns:
        A `keras.Model`: float32 [batch, height, width, channels] in 0..255 to float32 [batch, 4] that sums to 1.

    Raises:
        UsageError: A size below the backbone's minimum, channels or dropout out of range, or weights that cannot
            be read or are another model's.
        UnavailableError: Keras is not installed, or the ImageNet weights cannot be fetched.
    """
    height = spec.height if height is None else height
    width = spec.width if width is None else width
    _check(spec, height, width, channels, dropout)
    keras = require("keras", extra="export", purpose=f"building {spec.name}")
    layers = keras.layers

    image = keras.Input((height, width, channels), name=_INPUT)
    x = layers.Concatenate(name="grey_to_rgb")([image, image, image]) if channels == 1 else image
    x = _scaling(keras, spec.preprocess)(x)
    backbone = _backbone(keras, spec, x, "imagenet" if weights == "imagenet" else None)
    x = layers.GlobalAveragePooling2D(name=_HEAD[0])(backbone.output)
    x = layers.Dropout(dropout, name=_HEAD[1])(x)
    # float32 whatever the policy: a softmax in half precision loses the small probabilities.
    x = layers.Dense(len(CLASSES), activation="softmax", dtype="float32", name=_HEAD[2])(x)
    model = keras.Model(image, x, name=spec.name)
    if weights is not None and weights != "imagenet":
        _load_weights(model, spec, Path(weights))
    return model


def is_own(config: Mapping[str, Any]) -> bool:
    """Whether a Keras model is one of `build_classifier`, whose outputs are in the order of `CLASSES`.

    Args:
        config: The `config.json` of a `.keras` file; it need not be well-formed.
    """
    network = config.get("config")
    if not isinstance(network, Mapping) or str(network.get("name")) not in CATALOG:
        return False
    layers = network.get("layers")
    if not isinstance(layers, list) or not all(isinstance(layer, Mapping) for layer in layers):
        return False
    names = [layer.get("name") for layer in layers]
    return names[:1] == [_INPUT] and tuple(names[-len(_HEAD) :]) == _HEAD


def _load_weights(model: Any, spec: ModelSpec, path: Path) -> None:
    try:
        model.load_weights(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UsageError(
            f"{path} holds no weights of this {spec.name} ({reason})",
            "give a file of model.save_weights"
            "('x.weights.h5') from a model of the same size and channels, or no weights at all",
        ) from error


def _check(spec: ModelSpec, height: int, width: int, channels: int, dropout: float) -> None:
    if min(height, width) < spec.min_size:
        raise UsageError(f"the input of {spec.name} must be >= {spec.min_size}x{spec.min_size}, got {height}x{width}")
    if channels not in {1, 3}:
        raise UsageError(f"input channels must be 1 (grey) or 3 (RGB), got {channels}")
    if not 0 <= dropout < 1:
        raise UsageError(f"`dropout` must be >= 0 and < 1, got {dropout}")


def _scaling(keras: Any, preprocess: SpecPreprocess) -> Any:
    if preprocess == "unit":
        return keras.layers.Rescaling(1 / 255, name="scale")
    if preprocess == "tf":
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")
    if preprocess == "torch":
        return keras.layers.Normalization(
            mean=[255.0 * value for value in IMAGENET_MEAN],
            variance=[(255.0 * value) ** 2 for value in IMAGENET_STD],
            name="scale",
        )
    return keras.layers.Identity(name="scale")


def _backbone(keras: Any, spec: ModelSpec, x: Any, weights: str | None) -> Any:
    constructor = getattr(keras.applications, spec.keras_application)
    # EfficientNetV2 would scale a second time inside.
    extra = {"include_preprocessing": False} if spec.keras_application.startswith("EfficientNetV2") else {}
    try:
        return constructor(include_top=False, weights=weights, input_tensor=x, **extra)
    except Exception as error:
        # A download that fails is a bare Exception of Keras.
        if weights is None:
            raise
        raise UnavailableError(
            f"the {weights} weights of {spec.name} cannot be fetched ({' '.join(str(error).split())[:300]})",
            "they need a network once: copy ~/.keras/models from a machine that has them, or start without "
            "(`weights=None`)",
        ) from error
