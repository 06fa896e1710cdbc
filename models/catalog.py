"""The backbones of the ensemble, as plain data. To add one, add an entry."""

import importlib.resources
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from braintumor.errors import UsageError
from braintumor.models.spec import ModelSpec

__all__ = ["CATALOG", "ENSEMBLE", "model_spec", "shipped_weights"]

_SPECS = (
    ModelSpec(
        name="EfficientNetV2M",
        keras_application="EfficientNetV2M",
        height=224,
        width=224,
        min_size=32,
        preprocess="tf",
        parameters=53_155_512,
        gmacs=5.36,
        paper="Tan & Le 2021, EfficientNetV2: Smaller Models and Faster Training, arXiv:2104.00298",
    ),
    ModelSpec(
        name="DenseNet121",
        keras_application="DenseNet121",
        height=224,
        width=224,
        min_size=32,
        preprocess="torch",
        parameters=7_041_604,
        gmacs=2.83,
        paper="Huang et al. 2017, Densely Connected Convolutional Networks, arXiv:1608.06993",
    ),
    ModelSpec(
        name="InceptionResNetV2",
        keras_application="InceptionResNetV2",
        height=224,
        width=224,
        min_size=75,
        preprocess="tf",
        parameters=54_342_884,
        gmacs=6.47,
        paper="Szegedy et al. 2017, Inception-v4, Inception-ResNet and the Impact of Residual Connections "
        "on Learning, arXiv:1602.07261",
    ),
    ModelSpec(
        name="EfficientNetV2S",
        keras_application="EfficientNetV2S",
        height=224,
        width=224,
        min_size=32,
        preprocess="tf",
        parameters=20_336_484,
        gmacs=2.85,
        paper="Tan & Le 2021, EfficientNetV2: Smaller Models and Faster Training, arXiv:2104.00298",
    ),
)

CATALOG: Mapping[str, ModelSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})

ENSEMBLE = ("EfficientNetV2M", "DenseNet121", "InceptionResNetV2")
"""The members of the study's soft vote: what is exported when no model is named, as far as their weights ship."""


def model_spec(name: str) -> ModelSpec:
    """The catalog's entry of that name.

    Raises:
        UsageError: There is none.
    """
    try:
        return CATALOG[name]
    except KeyError:
        raise UsageError(f"no backbone is called {name!r}; the catalog has {', '.join(CATALOG)}") from None


def shipped_weights() -> tuple[Path, ...]:
    """The ensemble's `.keras` files that come with the package, sorted by name; empty where none were installed."""
    folder = Path(str(importlib.resources.files("braintumor.models") / "pretrained"))
    return tuple(sorted(path for path in folder.glob("*.keras") if path.stem in ENSEMBLE))
