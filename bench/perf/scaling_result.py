"""Time and memory against the number of images, as values; schema `braintumor.scaling/1`."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from braintumor.errors import UsageError

__all__ = ["Line", "Point", "Scaling"]


@dataclass(frozen=True, slots=True)
class Point:
    """One process.

    Attributes:
        images: How many it answered.
        threads: CPU threads that it was given.
        wall_s: From its start to its end.
        peak_rss_mb: Its peak memory, in 1e6 bytes.
        ran_on: The engine that answered.
    """

    images: int
    threads: int
    wall_s: float
    peak_rss_mb: float
    ran_on: str

    @property
    def images_per_s(self) -> float:
        """Start-up included."""
        return self.images / self.wall_s


@dataclass(frozen=True, slots=True)
class Line:
    """How time grows with the number of images: seconds = start + images / rate, fitted to relative errors.

    Attributes:
        start_s: What a process takes without any image.
        images_per_s: Beyond its start.
        largest_departure: Of a point from the line, as a share of its time.
    """

    start_s: float
    images_per_s: float
    largest_departure: float


@dataclass(frozen=True, slots=True)
class Scaling:
    """All points of one bundle on one engine.

    Attributes:
        bundle: Its name.
        sha256: Of the bundle.
        engine: What was asked for.
        source: Where the images come from, in words.
        points: By threads, then by images.
    """

    bundle: str
    sha256: str
    engine: str
    source: str
    points: tuple[Point, ...] = ()

    def with_point(self, point: Point) -> "Scaling":
        """One more point, in its place."""
        return replace(self, points=tuple(sorted((*self.points, point), key=lambda one: (one.threads, one.images))))

    def of_threads(self, threads: int) -> tuple[Point, ...]:
        """The points of that number of threads, by images."""
        return tuple(point for point in self.points if point.threads == threads)

    @property
    def threads(self) -> tuple[int, ...]:
        """The numbers of threads that were measured."""
        return tuple(sorted({point.threads for point in self.points}))

    def line(self, threads: int) -> Line:
        """The straight line through the points of that number of threads.

        Raises:
            UsageError: There are fewer than two.
        """
        points = self.of_threads(threads)
        if len({point.images for point in points}) < 2:  # noqa: PLR2004 - a line needs two
            raise UsageError(f"{len(points)} points at {threads} threads make no line; measure two counts or more")
        images = np.array([point.images for point in points], np.float64)
        wall_s = np.array([point.wall_s for point in points])
        # Divided by the time, an error of one per cent counts the same at 100 and at 10,000 images.
        system = np.stack([1 / wall_s, images / wall_s], axis=1)
        start_s, each_s = np.linalg.lstsq(system, np.ones(len(points)))[0]
        departures = np.abs(system @ np.array([start_s, each_s]) - 1)
        return Line(float(start_s), float(1 / each_s), float(departures.max()))

    def memory_ratio(self, threads: int) -> float:
        """Peak memory at the most images over that at the fewest."""
        points = self.of_threads(threads)
        return points[-1].peak_rss_mb / points[0].peak_rss_mb

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        lines = {
            str(threads): {**asdict(self.line(threads)), "memory_ratio": self.memory_ratio(threads)}
            for threads in self.threads
            if len({point.images for point in self.of_threads(threads)}) > 1
        }
        points = [{**asdict(point), "images_per_s": point.images_per_s} for point in self.points]
        return {**asdict(self), "points": points, "lines": lines}
