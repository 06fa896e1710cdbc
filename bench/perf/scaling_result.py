"""Time and memory against the number of images, as values; schema `braintumor.scaling/1`."""

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
    """One process.

    Attributes:
        images: How many it answered.
        threads: CPU threads that it was given.
        wall_s: From its start to its end.
        peak_rss_mb: Its peak memory, in 1e6 bytes.
        ran_on: The engine that answered; "" in files that do not tell.
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
        """What was measured."""
        return cls(images, threads, wall_s, peak_rss_mb, ran_on, images / wall_s)


@dataclass(frozen=True, slots=True)
class Line:
    """How time grows with the number of images: seconds = start + images / rate, fitted to relative errors.

    Attributes:
        start_s: What a process takes without any image.
        images_per_s: Beyond its start.
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
        notice: What it may be used for.
        environment: The machine.
        bundle: Its name.
        sha256: Of the bundle.
        engine: What was asked for.
        source: Where the images come from, in words; "" in files that do not tell.
        points: By threads, then by images.
        lines: Number of threads, as text → the line through its points, where there are two or more.
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
        """One more point, in its place, and the lines through all."""
        points = tuple(sorted((*self.points, point), key=lambda one: (one.threads, one.images)))
        groups = {one.threads: [other for other in points if other.threads == one.threads] for one in points}
        lines = {str(threads): line(group) for threads, group in groups.items() if _has_line(group)}
        return replace(self, points=points, lines=lines)

    def of_threads(self, threads: int) -> tuple[Point, ...]:
        """The points of that number of threads, by images."""
        return tuple(point for point in self.points if point.threads == threads)

    @property
    def threads(self) -> tuple[int, ...]:
        """The numbers of threads that were measured."""
        return tuple(sorted({point.threads for point in self.points}))


def line(points: Sequence[Point]) -> Line:
    """The straight line through points of one number of threads.

    Args:
        points: By images.

    Raises:
        UsageError: There are fewer than two.
    """
    if not _has_line(points):
        raise UsageError(f"{len(points)} points make no line; measure two counts or more")
    images = np.array([point.images for point in points], np.float64)
    wall_s = np.array([point.wall_s for point in points])
    # Divided by the time, an error of one per cent counts the same at 100 and at 10,000 images.
    system = np.stack([1 / wall_s, images / wall_s], axis=1)
    start_s, each_s = np.linalg.lstsq(system, np.ones(len(points)))[0]
    departures = np.abs(system @ np.array([start_s, each_s]) - 1)
    memory_ratio = points[-1].peak_rss_mb / points[0].peak_rss_mb
    return Line(float(start_s), float(1 / each_s), float(departures.max()), memory_ratio)


def _has_line(points: Sequence[Point]) -> bool:
    return len({point.images for point in points}) > 1
