"""The process of one runner: loads it once, then runs batches on request, and replies with their times.

    python -m braintumor.bench.latency.worker

Reads one JSON object a line from standard input, first a `Start`, then `Request`s, and writes one JSON object a line
to standard output. Whatever libraries print goes to standard error, so that it does not mix with the replies.

| request | reply |
| --- | --- |
| (the start) | `RunnerInfo` |
| {"batches": [[0, 1]], "probabilities": false} | `Calls` |
| {"device": [0, 1], "calls": 5} | `DeviceTimes` |
| {"energy": [[0, 1]], "seconds": 2} | `Energy` |
| {"peak": true} | `Peak` |

The reply to a request that fails is a `Failure`.
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
from braintumor.bench.latency.runners.base import BatchPrediction, Call, Calls, Runner, RunnerSpec
from braintumor.bench.metrics.process import own_peak_rss_mb
from braintumor.bench.metrics.timing import now_ms
from braintumor.child import end_with_parent
from braintumor.errors import BraintumorError

if TYPE_CHECKING:
    from braintumor.bench.latency.energy import Energy
    from braintumor.bench.latency.gpu import DeviceTimes

__all__ = ["Failure", "Peak", "Request", "Start", "main", "serve", "timed_predict"]


@dataclass(frozen=True, slots=True)
class Start:
    """The first line that a process reads.

    Attributes:
        spec: How to create the runner.
        images: Paths of the image files; requests name them by index.
    """

    spec: RunnerSpec
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One of: run batches; time a batch on the GPU; count the energy of batches; report the peak memory.

    Attributes:
        batches: Batches to run, as indices of images.
        probabilities: Whether to return the probabilities of these, besides the times.
        device: One batch to time on the GPU, as indices of images.
        calls: Number of calls that are timed on the GPU.
        energy: Batches whose energy is counted, as indices of images.
        seconds: How long to repeat those, at least.
        peak: Whether to report the peak memory.
    """

    batches: Sequence[Sequence[int]] = ()
    probabilities: bool = False
    device: Sequence[int] = ()
    calls: int = 0
    energy: Sequence[Sequence[int]] = ()
    seconds: float = 0.0
    peak: bool = False


@dataclass(frozen=True, slots=True)
class Peak:
    """Peak memory of the process.

    Attributes:
        peak_rss_mb: In 1e6 bytes; None where the system does not report it.
    """

    peak_rss_mb: float | None


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of a request.

    Attributes:
        error: Message of the error.
        remedy: How to fix it.
        type: Name of its class in `braintumor.errors`.
    """

    error: str
    remedy: str
    type: str


def timed_predict(runner: Runner, paths: Sequence[Path]) -> tuple[float, BatchPrediction]:
    """The whole time of one batch in milliseconds, and its prediction."""
    start = now_ms()
    prediction = runner.predict(paths)
    return now_ms() - start, prediction


def serve(runner: Runner, images: Sequence[Path], request: Request) -> "Calls | DeviceTimes | Energy | Peak":
    """Serve one request. What only some requests need is imported here: start and memory of a runner are measured."""
    if request.batches:
        return _run_batches(runner, images, request)
    if request.device:
        from braintumor.bench.latency.gpu import device_times

        return device_times(runner, _select(images, request.device), calls=request.calls)
    if request.energy:
        from braintumor.bench.latency.energy import measure_energy

        batches = [_select(images, batch) for batch in request.energy]
        return measure_energy(runner, batches, seconds=request.seconds)
    return Peak(own_peak_rss_mb())


def _select(images: Sequence[Path], indices: Sequence[int]) -> list[Path]:
    return [images[index] for index in indices]


def _run_batches(runner: Runner, images: Sequence[Path], request: Request) -> Calls:
    calls, votes, members = [], [], []
    for batch in request.batches:
        total_ms, prediction = timed_predict(runner, _select(images, batch))
        calls.append(Call(total_ms, prediction.stages_ms, prediction.members_ms))
        if request.probabilities:
            votes.append(prediction.vote.tolist())
            members.append(None if prediction.members is None else prediction.members.tolist())
    return Calls(tuple(calls), votes, members)


def main() -> None:
    """Serve until standard input ends."""
    channel = _reply_channel()
    try:
        start = decode(json.loads(sys.stdin.readline()), Start)
        images = [Path(path) for path in start.images]
        module, _, attribute = start.spec.target.partition(":")
        runner: Runner = getattr(importlib.import_module(module), attribute)(**start.spec.options)
        _reply(channel, runner.info)
        for line in sys.stdin:
            _reply(channel, serve(runner, images, decode(json.loads(line), Request)))
    except BraintumorError as error:
        _reply(channel, Failure(error.message, error.remedy, type(error).__name__))


def _reply_channel() -> TextIO:
    """Standard output for replies alone: all other output goes to standard error from now on."""
    sys.stdout.flush()
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def _reply(channel: TextIO, reply: object) -> None:
    channel.write(json.dumps(encode(reply)) + "\n")
    channel.flush()


if __name__ == "__main__":
    end_with_parent()
    main()
