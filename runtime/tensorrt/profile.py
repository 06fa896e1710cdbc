"""The batch sizes that a TensorRT plan is built for."""

from dataclasses import dataclass, fields

from braintumor.errors import UsageError

__all__ = ["BatchProfile"]


@dataclass(frozen=True)
class BatchProfile:
    """Batch sizes, 1 <= smallest <= best <= largest: a plan runs all of them and is tuned for `best`."""

    smallest: int
    best: int
    largest: int

    def __post_init__(self) -> None:
        """Refuse sizes out of order (UsageError)."""
        if not 1 <= self.smallest <= self.best <= self.largest:
            raise UsageError(
                f"batch profile {self}: three sizes in ascending order from 1 on are allowed; write 1,8,32, say"
            )

    @classmethod
    def parse(cls, text: str) -> "BatchProfile":
        """Read 'smallest,best,largest', such as '1,8,32'; raise UsageError where it is anything else."""
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != len(fields(cls)) or not all(part.isascii() and part.isdigit() for part in parts):
            raise UsageError(
                f"batch profile {text!r}: three whole numbers, smallest,best,largest, are allowed; write 1,8,32, say"
            )
        return cls(*(int(part) for part in parts))

    def holds(self, batch: int) -> bool:
        """Say whether a plan of this profile runs a batch of this size."""
        return self.smallest <= batch <= self.largest

    def __str__(self) -> str:
        """Write the profile as `parse` reads it."""
        return f"{self.smallest},{self.best},{self.largest}"
