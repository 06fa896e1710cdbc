"""The protocol of a runner: a bundle or a baseline whose speed is measured."""

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
    "BatchPrediction",
    "Call",
    "Calls",
    "Runner",
    "RunnerInfo",
    "RunnerSpec",
    "refuse_fall_back",
    "stages_ms",
]

STAGES: Final = ("decode", "assemble", "compute", "vote")
"""The parts of a call, in order: read files and resize, stack one array for each size, run the members, vote. A
runner that cannot be timed in these parts has "compute" alone."""


@dataclass(frozen=True, slots=True)
class RunnerInfo:
    """Name, engine and members of a runner, read back after loading.

    Attributes:
        name: Name of the bundle or baseline.
        kind: A bundle on one of our engines, or a baseline ("peer", as in the JSON).
        sha256: Of the bundle that it runs; None for a baseline with a model of its own.
        precision: Of the bundle; for a baseline the precision that it computes in.
        engine: The engine and device that it runs on.
        members: Names, in the order of `BatchPrediction.members`; none for a baseline with a model of its own.
        note: How it is used, if that needs a word.
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
        """Its name in one line, such as "fp32 on openvino-cpu"; two runners may have the same."""
        return f"{self.name} on {self.engine.name}" if self.kind == "bundle" else f"{self.name} ({self.precision})"


@dataclass(frozen=True, slots=True)
class RunnerSpec:
    """Instructions for a process to create a runner.

    Attributes:
        target: "module:callable"; the callable takes the options by name and returns a `Runner`.
        options: Plain data.
        engine: The requested engine, or "auto"; "" for a baseline.
        caches: Whether its first start on a machine fills a cache that makes later starts faster.
        environment: Environment variables of its process.
    """

    target: str
    options: Mapping[str, object]
    engine: str = ""
    caches: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class BatchPrediction:
    """Probabilities of one batch, and the times of its parts.

    Attributes:
        vote: float32 [batch, classes], in the order of `braintumor.models.labels.usual_order`.
        stages_ms: Part of the call, of `STAGES` → its time.
        members: float32 [members, batch, classes]; None without members.
        members_ms: Member that ran → its time. Times of members that run concurrently overlap.
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
        members_ms: Of the members that ran.
    """

    total_ms: float
    stages_ms: Mapping[str, float]
    members_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Calls:
    """Batches that were run one after the other.

    Attributes:
        calls: One for each batch.
        votes: By batch, image and class; empty if probabilities were not requested.
        members: By batch, member, image and class; None for a runner without members.
    """

    calls: tuple[Call, ...]
    votes: Sequence[Sequence[Sequence[float]]]
    members: Sequence[Sequence[Sequence[Sequence[float]]] | None]


class Runner(Protocol):
    """A loaded runner."""

    @property
    def info(self) -> RunnerInfo:
        """Name, engine and members."""
        ...

    def predict(self, paths: Sequence[Path]) -> BatchPrediction:
        """Run image files as one batch, from the bytes on the disk to the vote."""
        ...


def stages_ms(*marks_ms: float) -> dict[str, float]:
    """Times of all `STAGES`, from the clock at their borders: one mark more than there are stages."""
    durations = (after - before for before, after in pairwise(marks_ms))
    return dict(zip(STAGES, durations, strict=True))


def refuse_fall_back(requested: str, info: RunnerInfo) -> None:
    """Refuse to time another engine or device than the requested one.

    Args:
        requested: Name of an engine, "auto", or "" for a baseline.
        info: The runner, with the engine and device that it runs on.

    Raises:
        UnavailableError: It runs elsewhere, because a library fell back to the CPU without an error.
    """
    if not requested:
        return
    engine = info.engine
    device = engine.device.partition(":")[0]
    expected_device = ENGINES[engine.name].device if engine.name in ENGINES else None
    if requested not in {AUTO, engine.name} or device != expected_device:
        raise UnavailableError(
            f"{info.name} was to be timed on {requested}, but runs as {engine.name} on {engine.device} "
            f"({engine.provider})",
            "see with bt-doctor which engines are usable here",
        )
