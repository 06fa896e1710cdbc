"""Options of `bt-bench accuracy`, and the protocol of its progress."""

from dataclasses import dataclass
from pathlib import Path

from braintumor.bench.accuracy.gate import DEFAULT_MARGIN_POINTS
from braintumor.bench.accuracy.reference import KERAS
from braintumor.errors import UsageError
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.engines.registry import AUTO
from braintumor.runtime.prediction import Policy

__all__ = ["AccuracyOptions"]


@dataclass(frozen=True, slots=True)
class AccuracyOptions:
    """Options of an evaluation.

    Attributes:
        engine: For the bundles.
        reference: "keras" for the models that each bundle's members were exported from, "none", or a verified bundle.
        reference_engine: For a reference that is a bundle.
        models: Folders to search for the `.keras` files.
        device: As `Ensemble.load` takes it, for the bundles.
        threads: CPU threads; None leaves it to the engines.
        batch_size: Images in a batch, at least 1.
        policy: "early-exit" and "cascade" also run only as many members as the policy needs, and compare.
        margin_points: Accuracy that may be lost, in percentage points.
        robustness: Number of images that are perturbed; 0 for none.
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
        """Check the numbers.

        Raises:
            UsageError: A number is too small.
        """
        if self.batch_size < 1 or self.robustness < 0:
            raise UsageError(
                f"batch_size is {self.batch_size} and robustness {self.robustness}; must be >= 1 and >= 0",
                "choose another `batch_size` or `robustness`",
            )
