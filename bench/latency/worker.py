"""The process of one contender: loads it once, then answers batches as it is told, and says how long each took.

    python -m braintumor.bench.latency.worker

One JSON object a line on standard input: first a `ContenderSpec` with the paths of the images, then requests. One a
line on standard output. What libraries print goes to standard error, lest it stand among the answers.

| request | answer |
| --- | --- |
| (the spec) | "info" of the contender |
| {"batches": [[0, 1]], "answers": false} | "calls": "total_ms", "stages_ms", "members_ms"; "votes", "members" |
| {"device": [0, 1], "calls": 5} | what `braintumor.bench.latency.gpu` gives |
| {"energy": [[0, 1]], "seconds": 2} | "joule", "images", or "reason" |
| {"peak": true} | "peak_rss_mb" |

What fails is answered with "error" and the name of its class.
"""

import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from braintumor.bench.latency.runners.base import Answered, Contender
from braintumor.bench.metrics.process import own_peak_rss_mb
from braintumor.bench.metrics.timing import now_ms
from braintumor.errors import BraintumorError

__all__ = ["main", "serve", "timed_answer"]


def timed_answer(contender: Contender, paths: Sequence[Path]) -> tuple[float, Answered]:
    """The whole time of one batch in milliseconds, and its answer."""
    start = now_ms()
    answered = contender.answer(paths)
    return now_ms() - start, answered


def serve(contender: Contender, images: Sequence[Path], request: Mapping[str, Any]) -> dict[str, Any]:
    """Do what one request asks."""
    if "batches" in request:
        return _answers(contender, images, request)
    if "device" in request:
        from braintumor.bench.latency.gpu import device_times

        return device_times(contender, _chosen(images, request["device"]), calls=request["calls"]).to_json()
    if "energy" in request:
        from braintumor.bench.latency.energy import energy_of

        batches = [_chosen(images, batch) for batch in request["energy"]]
        return energy_of(contender, batches, seconds=request["seconds"]).to_json()
    return {"peak_rss_mb": own_peak_rss_mb()}


def _chosen(images: Sequence[Path], indices: Sequence[int]) -> list[Path]:
    return [images[index] for index in indices]


def _answers(contender: Contender, images: Sequence[Path], request: Mapping[str, Any]) -> dict[str, Any]:
    calls, votes, members = [], [], []
    for batch in request["batches"]:
        total_ms, answered = timed_answer(contender, _chosen(images, batch))
        calls.append({"total_ms": total_ms, "stages_ms": answered.stages_ms, "members_ms": answered.members_ms})
        if request["answers"]:
            votes.append(answered.vote.tolist())
            members.append(None if answered.members is None else answered.members.tolist())
    return {"calls": calls, "votes": votes, "members": members}


def main() -> None:
    """Serve until standard input ends."""
    channel = _own_channel()
    try:
        spec = json.loads(sys.stdin.readline())
        images = [Path(path) for path in spec["images"]]
        module, _, attribute = spec["target"].partition(":")
        contender: Contender = getattr(importlib.import_module(module), attribute)(**spec["options"])
        _reply(channel, {"info": contender.info.to_json()})
        for line in sys.stdin:
            _reply(channel, serve(contender, images, json.loads(line)))
    except BraintumorError as error:
        _reply(channel, {"error": str(error), "type": type(error).__name__})


def _own_channel() -> TextIO:
    """Standard output for the answers alone: whoever prints, prints to standard error from now on."""
    sys.stdout.flush()
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def _reply(channel: TextIO, answer: Mapping[str, Any]) -> None:
    channel.write(json.dumps(answer) + "\n")
    channel.flush()


if __name__ == "__main__":
    main()
