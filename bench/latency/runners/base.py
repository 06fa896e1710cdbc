"""What takes part in a comparison of speed: loaded once in a process of its own, then asked batch by batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import UnavailableError
from braintumor.runtime.engines.base import EngineInfo
from braintumor.runtime.engines.registry import AUTO, ENGINES

__all__ = [
    "STAGES",
    "Answered",
    "Call",
    "Calls",
    "Contender",
    "ContenderInfo",
    "ContenderSpec",
    "refuse_fall_back",
    "stages_ms",
]

STAGES: Final = ("decode", "assemble", "compute", "vote")
"""The parts of an answer, in order: files to grey levels of the members' sizes, one array a size, the members, the
vote. One that does not work in these parts has "compute" alone."""


@dataclass(frozen=True, slots=True)
class ContenderInfo:
    """Who takes part, as it was read back after loading.

    Attributes:
        name: Of the bundle, or of the peer.
        kind: A bundle on an engine of ours, or a peer.
        sha256: Of the bundle that it answers with; None for a peer with a model of its own.
        precision: Of the bundle; what a peer computes in.
        engine: What it really runs on.
        members: Names, in the order of `Answered.members`; a peer that has no members of ours has none.
        note: How it is used, where that needs a word.
    """

    name: str
    kind: Literal["bundle", "peer"]
    sha256: str | None
    precision: str
    engine: EngineInfo
    members: tuple[str, ...] = ()
    note: str = ""

    @property
    def key(self) -> str:
        """What it is called: one line, such as "fp32 on openvino-cpu"; two may be called the same."""
        return f"{self.name} on {self.engine.name}" if self.kind == "bundle" else f"{self.name} ({self.precision})"


@dataclass(frozen=True, slots=True)
class ContenderSpec:
    """How a process makes a contender.

    Attributes:
        target: "module:callable"; the callable takes the options by name and gives a `Contender`.
        options: Plain data.
        asked: The engine of ours that was asked for, or "auto"; "" for a peer.
        caches: Whether its first start on a machine fills a cache that makes later ones faster.
        environment: Variables of its process.
    """

    target: str
    options: Mapping[str, object]
    asked: str = ""
    caches: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """One batch, answered.

    Attributes:
        vote: float32 [batch, classes], in the order of `braintumor.models.labels.usual_order`.
        stages_ms: What each part took, of `STAGES`.
        members: float32 [members, batch, classes]; None where there are no members.
        members_ms: Name → time of a member that was asked. Members that work at the same time overlap.
    """

    vote: NDArray[np.float32]
    stages_ms: Mapping[str, float]
    members: NDArray[np.float32] | None = None
    members_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """The times of one batch.

    Attributes:
        total_ms: From the files to the vote.
        stages_ms: Of its parts, see `STAGES`.
        members_ms: Of the members that were asked.
    """

    total_ms: float
    stages_ms: Mapping[str, float]
    members_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Calls:
    """Batches, answered one after the other.

    Attributes:
        calls: One a batch.
        votes: By batch, image and class; empty where answers were not asked for.
        members: By batch, member, image and class; None for a contender without members.
    """

    calls: tuple[Call, ...]
    votes: Sequence[Sequence[Sequence[float]]]
    members: Sequence[Sequence[Sequence[Sequence[float]]] | None]


class Contender(Protocol):
    """Loaded, and ready to answer."""

    @property
    def info(self) -> ContenderInfo:
        """Who it is."""
        ...

    def answer(self, paths: Sequence[Path]) -> Answered:
        """Answer image files as one batch, from the bytes on the disk to the vote."""
        ...


def stages_ms(*marks_ms: float) -> dict[str, float]:
    """What each of `STAGES` took, of the times at their borders: one more than there are stages."""
    took = (after - before for before, after in pairwise(marks_ms))
    return dict(zip(STAGES, took, strict=True))


def refuse_fall_back(asked: str, info: ContenderInfo) -> None:
    """Refuse to time another engine or device than the one that was asked for.

    Args:
        asked: Name of an engine, "auto", or "" for a peer.
        info: What it really runs on.

    Raises:
        UnavailableError: It runs elsewhere, as a library does that falls back to the CPU in silence.
    """
    if not asked:
        return
    engine = info.engine
    kind = engine.device.partition(":")[0]
    wanted = ENGINES[engine.name].device if engine.name in ENGINES else "none that is known"
    if asked not in {AUTO, engine.name} or kind != wanted:
        raise UnavailableError(
            f"{info.name} was to be timed on {asked}, and runs as {engine.name} on {engine.device} "
            f"({engine.provider}): its times would be those of something else; bt-doctor says what is usable here"
        )
