"""Two members at once: one is written, by Python on one core, while another is verified, by ONNX Runtime.

At any time at most one member is being written and one verified, so that a whole export needs the memory of two.
"""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

__all__ = ["Limit", "StageSlots", "one_by_one", "overlapped", "shared_limit"]

Result = TypeVar("Result")

# A limit of 0 seconds would be none.
_LEAST_S: Final = 1e-3


class Limit(Protocol):
    """Runs work, and ends it when it takes too long."""

    def __call__(self, work: Callable[[], Result], /) -> Result:
        """The result of the work."""
        ...


class _StoppedError(Exception):
    """The result of this job is not needed any more."""


class _SharedSlots:
    """One slot a stage, shared by all jobs."""

    def __init__(self) -> None:
        self.writing, self.verifying = threading.Lock(), threading.Lock()
        self.stopped = False


def _unlimited(work: Callable[[], Result], /) -> Result:
    return work()


class StageSlots:
    """The two stages in which a member is made, one after the other; each holds one job at a time."""

    def __init__(self, shared: _SharedSlots | None = None, limit: Limit = _unlimited) -> None:
        self._shared = shared or _SharedSlots()
        self._limit = limit

    def within(self, limit: Limit) -> "StageSlots":
        """The same slots for a job that has a limit: waiting for a slot is not counted."""
        return StageSlots(self._shared, limit)

    def write(self, work: Callable[[], Result]) -> Result:
        """Run work while no other member is written."""
        return self._run(self._shared.writing, work)

    def verify(self, work: Callable[[], Result]) -> Result:
        """Run work while no other member is verified."""
        return self._run(self._shared.verifying, work)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._shared.stopped

    def stop(self) -> None:
        """Let no job enter a stage any more."""
        self._shared.stopped = True

    def _run(self, slot: threading.Lock, work: Callable[[], Result]) -> Result:
        with slot:
            if self.stopped:
                raise _StoppedError
            return self._limit(work)


def shared_limit(seconds: float | None, run: Callable[[float | None, Callable[[], Result]], Result]) -> Limit:
    """A limit that all the work of one member shares.

    Args:
        seconds: For all of it; None for no limit.
        run: Runs work within so many seconds.
    """
    left_s = seconds

    def limited(work: Callable[[], Result], /) -> Result:
        nonlocal left_s
        start_s = time.monotonic()
        try:
            return run(left_s, work)
        finally:
            if left_s is not None:
                left_s = max(left_s - (time.monotonic() - start_s), _LEAST_S)

    return limited  # type: ignore[return-value]  # `run` takes work of any kind


def one_by_one(jobs: Sequence[Callable[[StageSlots], Result]]) -> Generator[Result, None, None]:
    """Run one job after the other, each when its result is needed."""
    for job in jobs:
        yield job(StageSlots())


def overlapped(jobs: Sequence[Callable[[StageSlots], Result]]) -> Generator[Result, None, None]:
    """Run jobs two at a time; yields their results in order.

    The first error is raised as it is, after the results before it. Then, and when the generator is closed,
    no further stage begins.
    """
    slots = StageSlots()
    with ThreadPoolExecutor(2, "export") as pool:
        futures = [pool.submit(job, slots) for job in jobs]
        try:
            for future in futures:
                yield future.result()
        except BaseException:
            slots.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
