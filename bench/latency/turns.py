"""Turns of runners: each runs the same batches, one runner after the other, so that none has a quieter machine."""

import time
from collections.abc import Iterator, Sequence
from typing import Final

from braintumor.bench.latency.process import RunnerProcess
from braintumor.bench.latency.runners.base import Call

__all__ = ["batch_indices", "take_turns"]

# Threads of the runner before may still spin for work.
_SETTLE_S: Final = 0.02


def take_turns(
    runners: Sequence[RunnerProcess], batches: Sequence[Sequence[int]], *, backwards: bool
) -> list[Sequence[Call]]:
    """Let every runner predict the same batches, once.

    Args:
        runners: Started.
        batches: Indices of images; one call each.
        backwards: Start with the last runner. Every other round does, so that none always follows the same neighbour.

    Returns:
        The calls of each runner, in the order of `runners`.
    """
    calls: list[Sequence[Call]] = [()] * len(runners)
    order = range(len(runners))
    for index in reversed(order) if backwards else order:
        time.sleep(_SETTLE_S)
        calls[index] = runners[index].predict(batches).calls
    return calls


def batch_indices(batch: int, images: int) -> Iterator[list[int]]:
    """Yield batches of indices over the images in their order, again and again.

    Args:
        batch: Images in a batch.
        images: Number of images.
    """
    start = 0
    while True:
        yield [(start + offset) % images for offset in range(batch)]
        start = (start + batch) % images
