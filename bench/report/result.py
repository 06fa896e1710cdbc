"""A report as a value: what was measured, put together; schema `braintumor.report/1` (docs/bench-json.md)."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from braintumor import NOTICE
from braintumor.bench.accuracy.gate import NOT_ACCEPTED
from braintumor.bench.accuracy.result import AccuracyResult
from braintumor.bench.latency.result import LatencyResult
from braintumor.bench.metrics.environment import Environment
from braintumor.bench.report.summary import Statement, statements
from braintumor.errors import UsageError

__all__ = ["Report"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """Decisions, times, or both, with the verdicts in words.

    Attributes:
        schema: Of the file.
        notice: What it may be used for.
        command: The command line that made it.
        created_utc: ISO 8601.
        environment: The machine: of the times, where there are any.
        summary: One verdict a bundle, in words.
        seconds: Part of the work → how long it took; empty where the parts were measured before.
        wall_s: From the command's start to the rendering; None where nothing was measured.
        inference_s: Seconds within the models, of the parts that were measured; None where nothing was.
        wall_over_inference: How much longer the report took than what it reports on; None likewise.
        accuracy: None where decisions were not judged.
        latency: None where nothing was timed.
    """

    schema: Literal["braintumor.report/1"] = "braintumor.report/1"
    notice: str = NOTICE
    command: str
    created_utc: str = field(default_factory=lambda: dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))
    environment: Environment
    summary: tuple[Statement, ...]
    seconds: Mapping[str, float]
    wall_s: float | None
    inference_s: float | None
    wall_over_inference: float | None
    accuracy: AccuracyResult | None
    latency: LatencyResult | None

    def __post_init__(self) -> None:
        """Refuse a report of nothing."""
        if self.accuracy is None and self.latency is None:
            raise ValueError("there must be decisions or times")

    @classmethod
    def of(
        cls,
        accuracy: AccuracyResult | None,
        latency: LatencyResult | None,
        command: str = "",
        seconds: Mapping[str, float] | None = None,
        wall_s: float | None = None,
    ) -> "Report":
        """Put together what was measured or read.

        Args:
            accuracy: Decisions.
            latency: Times.
            command: The command line.
            seconds: "accuracy" and "latency", where they were measured now → how long that took.
            wall_s: From the command's start to now.

        Raises:
            UsageError: There are neither decisions nor times.
        """
        parts = {"accuracy": accuracy, "latency": latency}
        present = [part for part in (latency, accuracy) if part is not None]
        if not present:
            raise UsageError("a report needs decisions or times, and there are none", "give `accuracy` or `latency`")
        measured = [part for name in seconds or () if (part := parts[name]) is not None]
        inference_s = sum(part.inference_s for part in measured) if measured else None
        return cls(
            command=command,
            environment=present[0].environment,
            summary=statements(accuracy, latency),
            seconds=dict(seconds or {}),
            wall_s=wall_s,
            inference_s=inference_s,
            wall_over_inference=wall_s / inference_s if wall_s is not None and inference_s else None,
            accuracy=accuracy,
            latency=latency,
        )

    @property
    def refused(self) -> bool:
        """Whether any bundle was refused, or too few images have not shown that it may be accepted."""
        return any(statement.status in NOT_ACCEPTED for statement in self.summary)
