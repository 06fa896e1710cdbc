"""A bundle and images in, records out. Nothing here imports TensorFlow."""

from typing import TYPE_CHECKING

from braintumor.front_door import opened

if TYPE_CHECKING:
    from braintumor.runtime.ensemble import Ensemble
    from braintumor.runtime.prediction import Record
    from braintumor.runtime.vote import soft_vote

__all__ = ["Ensemble", "Record", "soft_vote"]

__getattr__ = opened(
    __name__,
    ensemble=("Ensemble",),
    prediction=("Record",),
    vote=("soft_vote",),
)
