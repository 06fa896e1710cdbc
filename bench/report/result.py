"""A report as a value: what was measured, put together. `report_summary` says it in words, `report_page` shows it."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from braintumor import NOTICE
from braintumor.bench.report.summary import Statement, statements
from braintumor.errors import UsageError

__all__ = ["SCHEMA", "Report"]

SCHEMA: Final = "braintumor.report/1"


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What a report tells.

    Attributes:
        accuracy: JSON of schema `braintumor.accuracy/1`; None where decisions were not judged.
        latency: JSON of schema `braintumor.latency/1`; None where nothing was timed.
        command: What was typed.
        seconds: Part of the work → how long it took; empty where the parts were measured before.
        wall_s: From the command's start to the rendering; None where nothing was measured.
        created_utc: When, ISO 8601.
    """

    accuracy: Mapping[str, Any] | None
    latency: Mapping[str, Any] | None
    command: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    wall_s: float | None = None
    created_utc: str = field(default_factory=lambda: dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))

    def __post_init__(self) -> None:
        """Refuse a report of nothing."""
        if self.accuracy is None and self.latency is None:
            raise UsageError("a report needs decisions or times; name a bundle, or --accuracy FILE or --latency FILE")

    @property
    def environment(self) -> Mapping[str, Any]:
        """Of the machine: of the times, where there are any."""
        found: Mapping[str, Any] = (self.latency or self.accuracy or {})["environment"]
        return found

    @property
    def inference_s(self) -> float | None:
        """Seconds within the calls of models, of the parts that were measured; None where nothing was."""
        parts = {"accuracy": self.accuracy, "latency": self.latency}
        measured = [found for name in self.seconds if (found := parts[name]) is not None]
        return sum(float(part["inference_s"]) for part in measured) if measured else None

    @property
    def wall_over_inference(self) -> float | None:
        """How much longer the report took than what it reports on; None where nothing was measured."""
        if self.wall_s is None or not self.inference_s:
            return None
        return self.wall_s / self.inference_s

    @property
    def refused(self) -> bool:
        """Whether any bundle was."""
        return any(one.status == "refused" for one in self.summary)

    @property
    def summary(self) -> tuple[Statement, ...]:
        """One verdict a bundle, in words."""
        return statements(self.accuracy, self.latency)

    def to_json(self) -> dict[str, Any]:
        """As plain data; see docs/bench-json.md."""
        return {
            "schema": SCHEMA,
            "notice": NOTICE,
            "command": self.command,
            "created_utc": self.created_utc,
            "environment": dict(self.environment),
            "summary": [asdict(one) for one in self.summary],
            "seconds": dict(self.seconds),
            "wall_s": self.wall_s,
            "inference_s": self.inference_s,
            "wall_over_inference": self.wall_over_inference,
            "accuracy": None if self.accuracy is None else dict(self.accuracy),
            "latency": None if self.latency is None else dict(self.latency),
        }
