"""The choice of "mixed": int8 for the members that gain by it, measured here, on the engine that is the fastest here.

Every engine that is usable on this machine and answers each member's probe is timed on each member at int8 and in
floating point, in turns. The engine with the least time for the whole ensemble decides; on it a member is int8
if that is faster beyond the scatter of the measurement (the 95 % interval of the ratio).
"""

import contextlib
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from braintumor.bench.metrics.ratio import Ratio, paired_ratio
from braintumor.bench.metrics.timing import timed_ms
from braintumor.errors import IntegrityError, UnavailableError
from braintumor.export.int8.evaluator import StepCallback
from braintumor.export.member import ExportedMember
from braintumor.files import sha256_of
from braintumor.runtime.bundle.load import Member, member_of
from braintumor.runtime.bundle.probe import probe_mismatch, probe_of
from braintumor.runtime.engines.registry import ENGINES, engine_factory

__all__ = ["Candidate", "PrecisionChoice", "choose_precisions"]

_ROUNDS: Final = 9


@dataclass(frozen=True, slots=True)
class Candidate:
    """A member at both precisions.

    Attributes:
        int8: None where int8 does not keep the member's decisions.
        floating: In floating point.
    """

    int8: ExportedMember | None
    floating: ExportedMember


@dataclass(frozen=True, slots=True)
class PrecisionChoice:
    """The precision of a member, and why.

    Attributes:
        member: Its name.
        int8: Whether it is int8.
        reason: In words.
        engine: Where it was measured; None where nothing was.
        floating_ms: A batch of the probe in floating point, the median.
        int8_ms: The same at int8; None where that was not measured.
        speed_up: Time in floating point divided by that at int8.
    """

    member: str
    int8: bool
    reason: str
    engine: str | None = None
    floating_ms: float | None = None
    int8_ms: float | None = None
    speed_up: Ratio | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `bundle.json`."""
        choice = {"int8": self.int8, "reason": self.reason, "engine": self.engine}
        if self.floating_ms is None:
            return choice
        return {
            **choice,
            "rest_ms": self.floating_ms,
            "int8_ms": self.int8_ms,
            "speed_up": None if self.speed_up is None else asdict(self.speed_up),
        }


@dataclass(frozen=True, slots=True)
class _Timed:
    """Times of one member on one engine, pair by pair; `int8_ms` is empty where int8 is out."""

    floating_ms: Sequence[float]
    int8_ms: Sequence[float]

    @property
    def best_ms(self) -> float:
        return min(statistics.median(times) for times in (self.floating_ms, self.int8_ms) if times)


def choose_precisions(
    candidates: Sequence[Candidate], step: StepCallback, engines: Iterable[str] = ENGINES
) -> tuple[PrecisionChoice, ...]:
    """Choose the precision of every member.

    Args:
        candidates: In the order of the bundle.
        step: Gets a description of what is being measured.
        engines: Names of the engines to measure on.
    """
    by_engine: dict[str, list[_Timed]] = {}
    for name in engines:
        # An engine that is not here, or that answers otherwise, does not count.
        with contextlib.suppress(UnavailableError, IntegrityError):
            by_engine[name] = [_timed(name, candidate, step) for candidate in candidates]
    if not by_engine:
        return tuple(
            PrecisionChoice(candidate.floating.entry["name"], False, "no engine is usable here to measure on")
            for candidate in candidates
        )
    engine = min(by_engine, key=lambda name: sum(timed.best_ms for timed in by_engine[name]))
    return tuple(
        _choice(candidate, engine, timed) for candidate, timed in zip(candidates, by_engine[engine], strict=True)
    )


def _choice(candidate: Candidate, engine: str, timed: _Timed) -> PrecisionChoice:
    name, precision = candidate.floating.entry["name"], candidate.floating.entry["precision"]
    floating_ms = statistics.median(timed.floating_ms)
    if not timed.int8_ms:
        return PrecisionChoice(
            name, False, "most of it has to stay in floating point to keep its decisions", engine, floating_ms
        )
    speed_up = paired_ratio(timed.int8_ms, timed.floating_ms)
    faster = speed_up.low > 1
    reason = f"int8 takes {1 / speed_up.median:.2f} x the time of {precision} on {engine}"
    if not faster:
        reason += f", not clearly faster (95 % interval {1 / speed_up.high:.2f} to {1 / speed_up.low:.2f})"
    return PrecisionChoice(name, faster, reason, engine, floating_ms, statistics.median(timed.int8_ms), speed_up)


def _timed(engine: str, candidate: Candidate, step: StepCallback) -> _Timed:
    step(f"{candidate.floating.entry['name']}: timing int8 and {candidate.floating.entry['precision']} on {engine}")
    with contextlib.ExitStack() as stack:
        calls = [
            _probe_call(stack, engine, exported)
            for exported in (candidate.floating, candidate.int8)
            if exported is not None
        ]
        rounds = [[timed_ms(call) for call in calls] for _ in range(_ROUNDS)]
    times = [list(side) for side in zip(*rounds, strict=True)]
    return _Timed(times[0], times[1] if candidate.int8 is not None else ())


def _probe_call(stack: contextlib.ExitStack, name: str, exported: ExportedMember) -> Callable[[], object]:
    """A call that runs the probe's images; the engine has answered them once, and within tolerance."""
    member = _member(exported)
    probe = probe_of(member)
    loaded = stack.enter_context(engine_factory(name)(member, threads=None, device=0))
    assert probe is not None  # noqa: S101 - narrows the type: every export has one
    if difference := probe_mismatch(loaded.infer(probe.images), probe, member.precision):
        raise UnavailableError(f"{name} does not answer as {member.name} was verified: {difference}")
    return lambda: loaded.infer(probe.images)


def _member(exported: ExportedMember) -> Member:
    model, probe = exported.model, {**exported.entry["probe"], "sha256": sha256_of(exported.probe)}
    entry = {**exported.entry, "probe": probe}
    return member_of(entry, model, sha256_of(model), exported.probe, len(entry["source"]["classes"]))
