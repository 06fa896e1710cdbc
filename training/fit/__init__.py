"""The training loop, which resumes exactly where it was cut off."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.training.fit.checkpoint import EpochRow, Position, RunFolder
    from braintumor.training.fit.finalize import finalize_run
    from braintumor.training.fit.learner import Learner
    from braintumor.training.fit.net2net import grow_file
    from braintumor.training.fit.progress import Progress
    from braintumor.training.fit.train import DivergedError, train_model

__all__ = [
    "DivergedError",
    "EpochRow",
    "Learner",
    "Position",
    "Progress",
    "RunFolder",
    "finalize_run",
    "grow_file",
    "train_model",
]

__getattr__ = lazy_getattr(
    __name__,
    checkpoint=("EpochRow", "Position", "RunFolder"),
    finalize=("finalize_run",),
    learner=("Learner",),
    net2net=("grow_file",),
    progress=("Progress",),
    train=("DivergedError", "train_model"),
)
