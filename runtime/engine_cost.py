"""The cost of each member on its engine, which decides in which order they run for an early exit.

Measured on this engine. (A cascade is ordered by multiply-adds, `export/graph/cost.py`: its order is part of the
bundle and must not depend on the machine.) Cached, so that the order, and
with it the bounds in a prediction, are the same at every later start.
"""

import statistics
import time
from dataclasses import asdict
from typing import Final

import numpy as np

from braintumor import __version__
from braintumor.cache import Cache, content_key
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.engines.base import Engine
from braintumor.runtime.image.geometry import Geometry
from braintumor.runtime.image.loading import elapsed_ms
from braintumor.runtime.members import Members
from braintumor.system.cpu import cpu_features

__all__ = ["member_costs_ms"]

_CACHE: Final = Cache("member-costs")
_BATCH: Final = 8
_RUNS: Final = 3


def member_costs_ms(bundle: Bundle, members: Members, threads: int | None) -> list[float]:
    """Milliseconds that each member takes for a batch of 8 images, the median of 3 after one to warm up.

    Args:
        bundle: Of the members.
        members: Loaded.
        threads: CPU threads that they use.
    """
    key = content_key(
        {
            "version": __version__,
            "bundle": bundle.sha256,
            "engine": asdict(members.engines[0].info),
            "threads": threads,
            "cpu": cpu_features(),
        }
    )
    costs = _CACHE.build_json(
        key,
        lambda: {"costs_ms": [_cost_ms(*pair) for pair in zip(members.engines, members.geometries, strict=True)]},
    )
    costs_ms: list[float] = costs["costs_ms"]
    return costs_ms


def _cost_ms(engine: Engine, geometry: Geometry) -> float:
    # The work does not depend on what is in the image.
    images = np.zeros((_BATCH, geometry.height, geometry.width), np.uint8)
    engine.infer(images)
    times_ms = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        engine.infer(images)
        times_ms.append(elapsed_ms(start))
    return statistics.median(times_ms)
