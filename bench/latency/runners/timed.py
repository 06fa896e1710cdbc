"""An engine that keeps how long it worked."""

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.metrics.timing import now_ms
from braintumor.runtime.engines.base import AsyncEngine, Engine, EngineInfo, PendingResult
from braintumor.runtime.engines.closing import Closing

__all__ = ["TimedEngine", "timed_engine"]


class TimedEngine(Closing):
    """Passes everything on.

    Attributes:
        took_ms: From the last call of `infer` or `submit` to its answer; None before there is one.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.took_ms: float | None = None

    @property
    def info(self) -> EngineInfo:
        """Of the engine."""
        return self._engine.info

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As the engine, timed."""
        start = now_ms()
        answer = self._engine.infer(images)
        self.took_ms = now_ms() - start
        return answer

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()


class _TimedSubmitting(TimedEngine):
    """One that can work while its caller goes on."""

    def submit(self, images: NDArray[np.uint8]) -> PendingResult:
        """As the engine, timed to the moment when the answer was waited for."""
        engine = self._engine
        assert isinstance(engine, AsyncEngine)  # noqa: S101 - `timed_engine` has looked
        start = now_ms()
        wait = engine.submit(images)

        def waited() -> NDArray[np.float32]:
            answer = wait()
            self.took_ms = now_ms() - start
            return answer

        return waited


def timed_engine(engine: Engine) -> TimedEngine:
    """Time an engine; what it can do, the timed one can."""
    return _TimedSubmitting(engine) if isinstance(engine, AsyncEngine) else TimedEngine(engine)
