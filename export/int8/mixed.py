"""`--precision mixed`: which members gain by int8? Measured here, on the engine that is the fastest here.

Every engine that is usable on this machine and answers each member's probe is timed on each member at int8 and at
the rest precision, in turns. The engine with the least time for the whole ensemble decides; on it a member is int8
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
from braintumor.export.member import ExportedMember
from braintumor.files import sha256_of
from braintumor.runtime.bundle.load import Member, member_of
from braintumor.runtime.bundle.probe import probe_mismatch, probe_of
from braintumor.runtime.engines.registry import ENGINES, engine_factory

__all__ = ["Candidate", "Choice", "choose"]

_ROUNDS: Final = 9

Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A member at both precisions.

    Attributes:
        int8: None where int8 does not keep the member's decisions.
        rest: At the other precision.
    """

    int8: ExportedMember | None
    rest: ExportedMember


@dataclass(frozen=True, slots=True)
class Choice:
    """What a member gets, and why.

    Attributes:
        member: Its name.
        int8: Whether it is int8.
        reason: In words.
        engine: On which it was measured; None where nothing was.
        rest_ms: A batch of the probe at the rest precision, the median.
        int8_ms: The same at int8; None where that was not measured.
        speed_up: How long the rest precision takes beside int8.
    """

    member: str
    int8: bool
    reason: str
    engine: str | None = None
    rest_ms: float | None = None
    int8_ms: float | None = None
    speed_up: Ratio | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `bundle.json`."""
        found = {"int8": self.int8, "reason": self.reason, "engine": self.engine}
        if self.rest_ms is None:
            return found
        return {
            **found,
            "rest_ms": self.rest_ms,
            "int8_ms": self.int8_ms,
            "speed_up": None if self.speed_up is None else asdict(self.speed_up),
        }


@dataclass(frozen=True, slots=True)
class _Timed:
    """Times of one member on one engine, pair by pair; `int8_ms` is empty where int8 is out."""

    rest_ms: Sequence[float]
    int8_ms: Sequence[float]

    @property
    def best_ms(self) -> float:
        return min(statistics.median(times) for times in (self.rest_ms, self.int8_ms) if times)


def choose(candidates: Sequence[Candidate], step: Step, engines: Iterable[str] = ENGINES) -> tuple[Choice, ...]:
    """Decide for every member.

    Args:
        candidates: In the order of the bundle.
        step: Told what is being measured.
        engines: Names of those to measure on.
    """
    by_engine: dict[str, list[_Timed]] = {}
    for name in engines:
        # An engine that is not here, or that answers otherwise, is none to choose by.
        with contextlib.suppress(UnavailableError, IntegrityError):
            by_engine[name] = [_timed(name, candidate, step) for candidate in candidates]
    if not by_engine:
        return tuple(
            Choice(candidate.rest.entry["name"], False, "no engine is usable here to measure on")
            for candidate in candidates
        )
    engine = min(by_engine, key=lambda name: sum(timed.best_ms for timed in by_engine[name]))
    return tuple(
        _choice(candidate, engine, timed) for candidate, timed in zip(candidates, by_engine[engine], strict=True)
    )


def _choice(candidate: Candidate, engine: str, timed: _Timed) -> Choice:
    name, rest = candidate.rest.entry["name"], candidate.rest.entry["precision"]
    rest_ms = statistics.median(timed.rest_ms)
    if not timed.int8_ms:
        return Choice(name, False, "int8 keeps too little of it in int8 to be faithful", engine, rest_ms)
    speed_up = paired_ratio(timed.int8_ms, timed.rest_ms)
    faster = speed_up.low > 1
    reason = f"int8 takes {1 / speed_up.median:.2f} x the time of {rest} on {engine}"
    if not faster:
        reason += f", which is no gain (95 % interval {1 / speed_up.high:.2f} to {1 / speed_up.low:.2f})"
    return Choice(name, faster, reason, engine, rest_ms, statistics.median(timed.int8_ms), speed_up)


def _timed(engine: str, candidate: Candidate, step: Step) -> _Timed:
    step(f"{candidate.rest.entry['name']}: timing int8 and {candidate.rest.entry['precision']} on {engine}")
    with contextlib.ExitStack() as stack:
        sides = [
            _asked(stack, engine, exported) for exported in (candidate.rest, candidate.int8) if exported is not None
        ]
        rounds = [[timed_ms(side) for side in sides] for _ in range(_ROUNDS)]
    times = [list(side) for side in zip(*rounds, strict=True)]
    return _Timed(times[0], times[1] if candidate.int8 is not None else ())


def _asked(stack: contextlib.ExitStack, name: str, exported: ExportedMember) -> Callable[[], object]:
    """A call that asks the probe's images; the engine has answered them once, and as it should."""
    member = _member(exported)
    probe = probe_of(member)
    loaded = stack.enter_context(engine_factory(name)(member, threads=None, device=0))
    assert probe is not None  # noqa: S101 - narrows the type: every export has one
    if why := probe_mismatch(loaded.infer(probe.images), probe, member.precision):
        raise UnavailableError(f"{name} does not answer as {member.name} was verified: {why}")
    return lambda: loaded.infer(probe.images)


def _member(exported: ExportedMember) -> Member:
    entry, model = exported.entry, exported.model
    return member_of(entry, model, sha256_of(model), exported.probe, len(entry["source"]["classes"]))
