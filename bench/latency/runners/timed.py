"""An engine with a stopwatch around its calls."""

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.metrics.timing import now_ms
from braintumor.runtime.engines.base import AsyncEngine, Engine, EngineInfo, PendingResult
from braintumor.runtime.engines.closing import Closing

__all__ = ["TimedEngine", "timed_engine"]


class TimedEngine(Closing):
    """Passes every call on to an engine and times it.

    Attributes:
        elapsed_ms: From the last call of `infer` or `submit` to its result; None before the first.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.elapsed_ms: float | None = None

    @property
    def info(self) -> EngineInfo:
        """Info of the engine."""
        return self._engine.info

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Infer, timed."""
        start = now_ms()
        probabilities = self._engine.infer(images)
        self.elapsed_ms = now_ms() - start
        return probabilities

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()


class _TimedSubmitting(TimedEngine):
    """A timed engine that can run while its caller goes on."""

    def submit(self, images: NDArray[np.uint8]) -> PendingResult:
        """Submit, timed until the result has been waited for."""
        engine = self._engine
        assert isinstance(engine, AsyncEngine)  # noqa: S101 - `timed_engine` has checked
        start = now_ms()
        wait = engine.submit(images)

        def waited() -> NDArray[np.float32]:
            probabilities = wait()
            self.elapsed_ms = now_ms() - start
            return probabilities

        return waited


def timed_engine(engine: Engine) -> TimedEngine:
    """Wrap an engine; the result has `submit` if the engine has it."""
    return _TimedSubmitting(engine) if isinstance(engine, AsyncEngine) else TimedEngine(engine)
