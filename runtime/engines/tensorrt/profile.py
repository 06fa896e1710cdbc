"""The batch sizes that a TensorRT plan is built for."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Final

from braintumor.errors import UsageError

__all__ = ["DEFAULT_PROFILE", "BatchProfile", "Chunk", "batch_sizes", "chunks"]


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
                f"batch profile {self}: must be three sizes >= 1 in ascending order", "write them as in 1,8,32"
            )

    @classmethod
    def parse(cls, text: str) -> "BatchProfile":
        """Read 'smallest,best,largest', such as '1,8,32'; raise UsageError where it is anything else."""
        sizes = [size.strip() for size in text.split(",")]
        if len(sizes) != len(fields(cls)) or not all(size.isascii() and size.isdigit() for size in sizes):
            raise UsageError(
                f"batch profile {text!r}: must be three whole numbers, smallest,best,largest",
                "write them as in 1,8,32",
            )
        return cls(*(int(size) for size in sizes))

    def holds(self, batch: int) -> bool:
        """Whether a plan of this profile runs a batch of this size."""
        return self.smallest <= batch <= self.largest

    def halved(self) -> "BatchProfile | None":
        """The profile for half as many images, which needs half the memory; None when there is no smaller one."""
        largest = self.largest // 2
        return BatchProfile(self.smallest, min(self.best, largest), largest) if largest >= self.smallest else None

    def __str__(self) -> str:
        """Write the profile as `parse` reads it."""
        return f"{self.smallest},{self.best},{self.largest}"


DEFAULT_PROFILE: Final = BatchProfile(1, 8, 32)
"""One image to a full batch, tuned for what a folder's rest is likely to be."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Images that go through a plan together.

    Attributes:
        start: The first one's index in its batch.
        count: Of images.
        batch_size: With which the plan runs them, `count` or a little more.
    """

    start: int
    count: int
    batch_size: int


def batch_sizes(profile: BatchProfile) -> tuple[int, ...]:
    """The batch sizes that a plan is run with: the profile's three and the powers of two between.

    A batch of another size is filled up to the next one. So each size that is run can have a CUDA graph, and with
    TensorRT for RTX its kernels, and their number stays small: 6 for 1,8,32.
    """
    powers = {1 << exponent for exponent in range(profile.largest.bit_length())}
    return tuple(
        sorted(size for size in powers | {profile.smallest, profile.best, profile.largest} if profile.holds(size))
    )


def chunks(batch: int, profile: BatchProfile) -> Iterator[Chunk]:
    """The chunks in which a batch of any size goes through a plan: full ones first, the rest filled up.

    Args:
        batch: Images, 0 or more.
        profile: Of the plan.
    """
    sizes = batch_sizes(profile)
    for start in range(0, batch, profile.largest):
        count = min(profile.largest, batch - start)
        yield Chunk(start, count, next(size for size in sizes if size >= count))
