"""What is asked of `bt-bench accuracy`, and who is told how it goes on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from braintumor.bench.accuracy.gate import DEFAULT_MARGIN_POINTS
from braintumor.bench.accuracy.reference import KERAS
from braintumor.errors import UsageError
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.engines.registry import AUTO
from braintumor.runtime.prediction import Policy

__all__ = ["AccuracyOptions", "Progress"]


class Progress(Protocol):
    """Who is told how the judging goes on."""

    def begin(self, what: str, images: int) -> None:
        """Something begins that goes through so many images."""
        ...

    def tick(self, images: int) -> None:
        """So many more images are done."""
        ...


@dataclass(frozen=True, slots=True)
class AccuracyOptions:
    """What is asked.

    Attributes:
        engine: For the bundles.
        reference: "keras" for the originals of each bundle's members, "none", or a verified bundle.
        reference_engine: For a reference that is a bundle.
        models: Folders in which originals are looked for.
        device: As `Ensemble.load` takes it, for the bundles.
        threads: CPU threads; None leaves it to the engines.
        batch_size: Images at a time, at least 1.
        policy: "early-exit" also asks as many members only as the label needs.
        margin_points: How much accuracy may be lost.
        robustness: How many images are perturbed; 0 for none.
    """

    engine: str = AUTO
    reference: str | Bundle = KERAS
    reference_engine: str = AUTO
    models: tuple[Path, ...] = ()
    device: str | None = None
    threads: int | None = None
    batch_size: int = 32
    policy: Policy = "full"
    margin_points: float = DEFAULT_MARGIN_POINTS
    robustness: int = 100

    def __post_init__(self) -> None:
        """Refuse what cannot be done.

        Raises:
            UsageError: A number below what is allowed.
        """
        if self.batch_size < 1 or self.robustness < 0:
            raise UsageError(
                f"batches of {self.batch_size} and {self.robustness} perturbed images were asked for; allowed are 1 "
                "and more, 0 and more"
            )
