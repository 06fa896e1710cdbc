"""Progress of a training run."""

from collections.abc import Callable
from dataclasses import dataclass

from braintumor.training.fit.checkpoint import EpochRow

__all__ = ["Progress", "ProgressCallback", "no_progress"]


@dataclass(frozen=True, slots=True)
class Progress:
    """State of a run after a step.

    Attributes:
        epoch: Number of the epoch under way, from 1.
        step: Steps done in it.
        steps: Steps in it.
        fraction: Part of the whole schedule that is done, 0 to 1.
        size: Image size in pixels.
        loss: Mean training loss of the epoch so far.
        accuracy: Mean training accuracy of the epoch so far.
        images_per_s: Speed over the epoch so far.
        elapsed_s: Training seconds so far, over all starts.
        last: The last complete epoch; None in the first.
    """

    epoch: int
    step: int
    steps: int
    fraction: float
    size: int
    loss: float
    accuracy: float
    images_per_s: float
    elapsed_s: float
    last: EpochRow | None

    @property
    def left_s(self) -> float:
        """Seconds to the end of the schedule, at the speed so far."""
        return self.elapsed_s * (1 - self.fraction) / max(self.fraction, 1e-6)


ProgressCallback = Callable[[Progress], None]


def no_progress(_: Progress) -> None:
    """Do nothing."""
