"""Time and memory against the number of images; schema `braintumor.scaling/1` (docs/bench-json.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from braintumor import NOTICE
from braintumor.bench.document import Positive
from braintumor.bench.metrics.environment import Environment
from braintumor.errors import UsageError

__all__ = ["Line", "Point", "ScalingResult", "line"]


@dataclass(frozen=True, slots=True)
class Point:
    """One process of `bt-infer`.

    Attributes:
        images: Number of images.
        threads: CPU threads.
        wall_s: From its start to its end, in seconds.
        peak_rss_mb: Peak memory, in 1e6 bytes.
        ran_on: The engine that it ran on; "" in older files.
        images_per_s: Start-up included.
    """

    images: int
    threads: int
    wall_s: Positive
    peak_rss_mb: Positive
    ran_on: str = ""
    images_per_s: float = 0.0

    @classmethod
    def of(cls, images: int, threads: int, wall_s: float, peak_rss_mb: float, ran_on: str) -> "Point":
        """A point with its rate."""
        return cls(images, threads, wall_s, peak_rss_mb, ran_on, images / wall_s)


@dataclass(frozen=True, slots=True)
class Line:
    """Time against the number of images: seconds = start + images / rate, fitted to relative errors.

    Attributes:
        start_s: Time of a process without any image.
        images_per_s: Rate, without the start.
        largest_departure: Of a point from the line, as a share of its time.
        memory_ratio: Peak memory at the most images over that at the fewest.
    """

    start_s: float
    images_per_s: float
    largest_departure: float
    memory_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingResult:
    """All points of one bundle on one engine.

    Attributes:
        schema: Of the file.
        notice: Not for clinical use.
        environment: The machine and its libraries.
        bundle: Name of the bundle.
        sha256: Of the bundle.
        engine: The requested engine.
        source: Where the images come from, in words; "" in older files.
        points: By threads, then by images.
        lines: Number of threads, as text → the line through its points, if there are two or more.
    """

    schema: Literal["braintumor.scaling/1"] = "braintumor.scaling/1"
    notice: str = NOTICE
    environment: Environment
    bundle: str
    sha256: str
    engine: str
    source: str = ""
    points: tuple[Point, ...] = ()
    lines: Mapping[str, Line] = field(default_factory=dict)

    def with_point(self, point: Point) -> "ScalingResult":
        """The result with one more point, and new lines."""
        points = tuple(sorted((*self.points, point), key=lambda point: (point.threads, point.images)))
        result = replace(self, points=points)
        groups = {threads: result.of_threads(threads) for threads in result.threads}
        lines = {str(threads): line(group) for threads, group in groups.items() if _has_line(group)}
        return replace(result, lines=lines)

    def of_threads(self, threads: int) -> tuple[Point, ...]:
        """The points of that number of threads, by images."""
        return tuple(point for point in self.points if point.threads == threads)

    @property
    def threads(self) -> tuple[int, ...]:
        """The numbers of threads that were measured, in ascending order."""
        return tuple(sorted({point.threads for point in self.points}))


def line(points: Sequence[Point]) -> Line:
    """The straight line through points of one number of threads.

    Args:
        points: In ascending order of images.

    Raises:
        UsageError: There are fewer than two numbers of images.
    """
    if not _has_line(points):
        raise UsageError(f"{len(points)} points do not make a line; must be of two numbers of images or more")
    images = np.array([point.images for point in points], np.float64)
    wall_s = np.array([point.wall_s for point in points])
    # Divided by the time, so that an error of one percent has the same weight at 100 and at 10,000 images.
    system = np.stack([1 / wall_s, images / wall_s], axis=1)
    start_s, each_s = np.linalg.lstsq(system, np.ones(len(points)))[0]
    departures = np.abs(system @ np.array([start_s, each_s]) - 1)
    memory_ratio = points[-1].peak_rss_mb / points[0].peak_rss_mb
    return Line(float(start_s), float(1 / each_s), float(departures.max()), memory_ratio)


def _has_line(points: Sequence[Point]) -> bool:
    return len({point.images for point in points}) > 1
