"""The specification of a backbone, without its weights."""

from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["PREPROCESSES", "ModelSpec", "Preprocess", "SpecPreprocess"]

Preprocess = Literal["none", "unit", "tf", "torch", "caffe"]
"""The scaling of grey levels 0..255, in the terms of `keras.applications.imagenet_utils` (`unit` is ours).

- `none`: not at all; the model scales inside, or was trained on 0..255.
- `unit`: x / 255, into 0..1.
- `tf`: x / 127.5 - 1, into -1..1.
- `torch`: x / 255, then minus ImageNet's mean and over its standard deviation, per channel.
- `caffe`: blue, green, red, minus ImageNet's mean in grey levels, per channel.
"""

SpecPreprocess = Literal["none", "unit", "tf", "torch"]
"""Those that `braintumor.models.build` puts inside a model."""

PREPROCESSES: tuple[Preprocess, ...] = get_args(Preprocess)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One backbone with its four-class head.

    Attributes:
        name: The name used in file names, options and reports.
        keras_application: The constructor's name in `keras.applications`.
        height: Input height in pixels.
        width: Input width in pixels.
        min_size: Smallest height and width that the constructor accepts, in pixels.
        preprocess: The scaling that the ImageNet weights expect.
        parameters: Number of weights with a grey input and a head of four classes.
        gmacs: Multiply-accumulates of one image at height x width, in 1e9 (convolutions and dense layers).
        paper: The publication of the architecture.
    """

    name: str
    keras_application: str
    height: int
    width: int
    min_size: int
    preprocess: SpecPreprocess
    parameters: int
    gmacs: float
    paper: str
