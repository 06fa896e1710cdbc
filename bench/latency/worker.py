"""The process of one contender: loads it once, then answers batches as it is told, and says how long each took.

    python -m braintumor.bench.latency.worker

One JSON object a line on standard input: first a `Start`, then `Request`s. One a line on standard output. What
libraries print goes to standard error, lest it stand among the answers.

| request | answer |
| --- | --- |
| (the start) | `ContenderInfo` |
| {"batches": [[0, 1]], "answers": false} | `Calls` |
| {"device": [0, 1], "calls": 5} | `DeviceTimes` |
| {"energy": [[0, 1]], "seconds": 2} | `Energy` |
| {"peak": true} | `Peak` |

What fails is answered with "error" and the name of its class.
"""

import importlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from braintumor.bench.document import decode, encode
from braintumor.bench.latency.runners.base import Answered, Call, Calls, Contender, ContenderSpec
from braintumor.bench.metrics.process import own_peak_rss_mb
from braintumor.bench.metrics.timing import now_ms
from braintumor.errors import BraintumorError

if TYPE_CHECKING:
    from braintumor.bench.latency.energy import Energy
    from braintumor.bench.latency.gpu import DeviceTimes

__all__ = ["Failure", "Peak", "Request", "Start", "main", "serve", "timed_answer"]


@dataclass(frozen=True, slots=True)
class Start:
    """What a process is started with.

    Attributes:
        spec: Of its contender.
        images: Paths; later they are named by their place.
    """

    spec: ContenderSpec
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One of: batches to be answered; a batch to be timed on the GPU; batches whose energy counts; the peak memory.

    Attributes:
        batches: Places of images.
        answers: Whether the answers are wanted, besides the times.
        device: Places of images, one batch.
        calls: How often that is measured.
        energy: Places of images.
        seconds: How long those are answered, at least.
        peak: Whether the peak memory is wanted.
    """

    batches: Sequence[Sequence[int]] = ()
    answers: bool = False
    device: Sequence[int] = ()
    calls: int = 0
    energy: Sequence[Sequence[int]] = ()
    seconds: float = 0.0
    peak: bool = False


@dataclass(frozen=True, slots=True)
class Peak:
    """Peak memory of the process.

    Attributes:
        peak_rss_mb: In 1e6 bytes; None where the system does not tell.
    """

    peak_rss_mb: float | None


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong.

    Attributes:
        error: What was found.
        remedy: How to fix it.
        type: Name of the class of `braintumor.errors`.
    """

    error: str
    remedy: str
    type: str


def timed_answer(contender: Contender, paths: Sequence[Path]) -> tuple[float, Answered]:
    """The whole time of one batch in milliseconds, and its answer."""
    start = now_ms()
    answered = contender.answer(paths)
    return now_ms() - start, answered


def serve(contender: Contender, images: Sequence[Path], request: Request) -> "Calls | DeviceTimes | Energy | Peak":
    """Do what one request asks; what only some need is imported then: a peer's start and memory are its own."""
    if request.batches:
        return _answers(contender, images, request)
    if request.device:
        from braintumor.bench.latency.gpu import device_times

        return device_times(contender, _chosen(images, request.device), calls=request.calls)
    if request.energy:
        from braintumor.bench.latency.energy import energy_of

        batches = [_chosen(images, batch) for batch in request.energy]
        return energy_of(contender, batches, seconds=request.seconds)
    return Peak(own_peak_rss_mb())


def _chosen(images: Sequence[Path], indices: Sequence[int]) -> list[Path]:
    return [images[index] for index in indices]


def _answers(contender: Contender, images: Sequence[Path], request: Request) -> Calls:
    calls, votes, members = [], [], []
    for batch in request.batches:
        total_ms, answered = timed_answer(contender, _chosen(images, batch))
        calls.append(Call(total_ms, answered.stages_ms, answered.members_ms))
        if request.answers:
            votes.append(answered.vote.tolist())
            members.append(None if answered.members is None else answered.members.tolist())
    return Calls(tuple(calls), votes, members)


def main() -> None:
    """Serve until standard input ends."""
    channel = _own_channel()
    try:
        start = decode(json.loads(sys.stdin.readline()), Start)
        images = [Path(path) for path in start.images]
        module, _, attribute = start.spec.target.partition(":")
        contender: Contender = getattr(importlib.import_module(module), attribute)(**start.spec.options)
        _reply(channel, contender.info)
        for line in sys.stdin:
            _reply(channel, serve(contender, images, decode(json.loads(line), Request)))
    except BraintumorError as error:
        _reply(channel, Failure(error.message, error.remedy, type(error).__name__))


def _own_channel() -> TextIO:
    """Standard output for the answers alone: whoever prints, prints to standard error from now on."""
    sys.stdout.flush()
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def _reply(channel: TextIO, answer: object) -> None:
    channel.write(json.dumps(encode(answer)) + "\n")
    channel.flush()


if __name__ == "__main__":
    main()
