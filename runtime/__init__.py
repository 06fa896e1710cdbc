"""A bundle and images in, predictions out. Nothing here imports TensorFlow."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.runtime.ensemble import Ensemble
    from braintumor.runtime.prediction import Prediction, Record
    from braintumor.runtime.vote import soft_vote

__all__ = ["Ensemble", "Prediction", "Record", "soft_vote"]

__getattr__ = lazy_getattr(
    __name__,
    ensemble=("Ensemble",),
    prediction=("Prediction", "Record"),
    vote=("soft_vote",),
)
