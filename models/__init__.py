"""The backbones as data, their Keras builders and the class labels."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.models.build import build_classifier
    from braintumor.models.catalog import model_spec
    from braintumor.models.labels import CLASSES, parse_classes
    from braintumor.models.spec import ModelSpec

__all__ = ["CLASSES", "ModelSpec", "build_classifier", "model_spec", "parse_classes"]

__getattr__ = lazy_getattr(
    __name__,
    build=("build_classifier",),
    catalog=("model_spec",),
    labels=("CLASSES", "parse_classes"),
    spec=("ModelSpec",),
)
