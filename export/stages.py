"""Two members at once: one is written, by Python on one core, while another is verified, by ONNX Runtime.

At each moment one member at most is in either stage, so that the memory of a whole export is that of two members.
"""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

__all__ = ["Limit", "Stages", "one_by_one", "overlapped", "shared_limit"]

Result = TypeVar("Result")

# A limit of 0 seconds would be none.
_LEAST_S: Final = 1e-3


class Limit(Protocol):
    """Does work, and ends it when it takes too long."""

    def __call__(self, work: Callable[[], Result], /) -> Result:
        """Give what the work gives."""
        ...


class _StoppedError(Exception):
    """Nobody waits for this job any more."""


class _Places:
    """What all jobs share: one place in each stage."""

    def __init__(self) -> None:
        self.writing, self.verifying = threading.Lock(), threading.Lock()
        self.stopped = False


def _unlimited(work: Callable[[], Result], /) -> Result:
    return work()


class Stages:
    """The two stages that a member goes through, one behind the other."""

    def __init__(self, places: _Places | None = None, limit: Limit = _unlimited) -> None:
        self._places = places or _Places()
        self._limit = limit

    def within(self, limit: Limit) -> "Stages":
        """The same stages for a job that has a limit: waiting for a stage to become free is not counted."""
        return Stages(self._places, limit)

    def write(self, work: Callable[[], Result]) -> Result:
        """Do work while no other member is written."""
        return self._do(self._places.writing, work)

    def verify(self, work: Callable[[], Result]) -> Result:
        """Do work while no other member is verified."""
        return self._do(self._places.verifying, work)

    @property
    def stopped(self) -> bool:
        """No job may enter a stage any more."""
        return self._places.stopped

    def stop(self) -> None:
        """Let no job enter a stage any more."""
        self._places.stopped = True

    def _do(self, place: threading.Lock, work: Callable[[], Result]) -> Result:
        with place:
            if self.stopped:
                raise _StoppedError
            return self._limit(work)


def shared_limit(seconds: float | None, run: Callable[[float | None, Callable[[], Result]], Result]) -> Limit:
    """A limit that all the work of one member shares.

    Args:
        seconds: For all of it; None for no limit.
        run: Does work within so many seconds.
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


def one_by_one(jobs: Sequence[Callable[[Stages], Result]]) -> Generator[Result, None, None]:
    """Do one job after the other, each when its result is asked for."""
    for job in jobs:
        yield job(Stages())


def overlapped(jobs: Sequence[Callable[[Stages], Result]]) -> Generator[Result, None, None]:
    """Do jobs two at a time; gives their results in order.

    The first error is raised as it is, when the results before it were given. Then, and when the generator is closed,
    no further stage begins.
    """
    stages = Stages()
    with ThreadPoolExecutor(2, "export") as pool:
        futures = [pool.submit(job, stages) for job in jobs]
        try:
            for future in futures:
                yield future.result()
        except BaseException:
            stages.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
