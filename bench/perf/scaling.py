"""Time and memory of `bt-infer` over 100, 1,000 and 10,000 images: time must be linear, memory constant.

    python bench/perf/scaling.py BUNDLE [--engine NAME] [--counts 100,1000,10000] [--threads 1,2] [--json F]
        [--chart F]

Every point is a whole process, as a user starts it. Before the first point of each number of threads one process runs
that is not counted, so that caches are filled and "auto" has chosen an engine. A long measurement can be split or cut
short: each point is written when it is measured, and points that the JSON file already holds, of the same bundle,
engine and images on the same machine, are not measured again.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
from PIL import Image

from braintumor.bench.comma_separated import CommaSeparated
from braintumor.bench.data.labelled import read_labelled
from braintumor.bench.data.phantoms import phantoms
from braintumor.bench.document import encode, read_document
from braintumor.bench.metrics.environment import environment
from braintumor.bench.metrics.process import run_process
from braintumor.bench.perf.scaling_chart import draw
from braintumor.bench.perf.scaling_result import Point, ScalingResult
from braintumor.bench.report.chart import require_drawing
from braintumor.command import EPILOG, Command, debug_option
from braintumor.errors import BraintumorError, UsageError
from braintumor.files import atomic_text
from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.engines.registry import AUTO

__all__ = ["main", "measure_point", "write_images"]

# Number of different images; the other files of a folder are hard links to them.
_DIFFERENT: Final = 100
_SIDE_PX: Final = 224
_REMEDY: Final = "name another file with `output`"


def measure_point(bundle: Path, folder: Path, *, engine: str, threads: int) -> Point:
    """Run `bt-infer` over a folder.

    Args:
        bundle: Folder of the bundle.
        folder: Folder of image files.
        engine: As `bt-infer --engine` takes it.
        threads: As `bt-infer --threads` takes it.

    Raises:
        BraintumorError: It failed, or did not give a prediction for every image.
    """
    infer = str(Path(sys.executable).with_name("bt-infer"))
    count = sum(1 for _ in folder.iterdir())
    with tempfile.TemporaryDirectory() as name:
        output = Path(name) / "predictions.jsonl"
        options = ("--bundle", str(bundle), "--engine", engine, "--threads", str(threads), "--output", str(output))
        run = run_process([infer, str(folder), *options])
        predictions, ran_on = 0, ""
        if run.returncode == 0:
            with output.open("rb") as stream:
                for line in stream:
                    ran_on = ran_on or json.loads(line)["engine"]["name"]
                    predictions += 1
    if predictions != count:
        raise BraintumorError(
            f"bt-infer gave {predictions} predictions for {count} images, with exit status {run.returncode}",
            f"run it by hand to see why: bt-infer FOLDER {' '.join(options[:-2])}",
        )
    return Point.of(count, threads, run.wall_s, run.peak_rss_mb, ran_on)


def write_images(folder: Path, count: int, data: Path | None) -> None:
    """Write image files into a new folder; the files after the first hundred are hard links to these.

    Args:
        folder: Is created.
        count: Number of files.
        data: Real images, as `read_labelled` takes them; None for phantoms.
    """
    folder.mkdir(parents=True)
    different = min(count, _DIFFERENT)
    if data is None:
        pixels = list(phantoms(different, _SIDE_PX, _SIDE_PX))
    else:
        labelled = read_labelled(data)
        sample = labelled.stratified(min(different, len(labelled)))
        pixels = [sample.read(index) for index in range(len(sample))]
    originals = []
    for index, image in enumerate(pixels):
        originals.append(folder / f"{index:06}.png")
        Image.fromarray(image).save(originals[-1])
    for index in range(len(originals), count):
        (folder / f"{index:06}.png").hardlink_to(originals[index % len(originals)])


def _with_earlier_points(scaling: ScalingResult, path: Path | None) -> ScalingResult:
    """The result with the points that a file already holds.

    Raises:
        UsageError: The file is of another bundle, engine or machine, or of other images.
    """
    if path is None or not path.is_file():
        return scaling
    earlier = read_document(path, {scaling.schema: ScalingResult}, _REMEDY)
    if _identity(earlier) != _identity(scaling):
        raise UsageError(f"{path} holds another bundle, engine, machine or other images", _REMEDY)
    return replace(scaling, points=earlier.points, lines=earlier.lines)


def _identity(scaling: ScalingResult) -> tuple[str, ...]:
    return scaling.sha256, scaling.engine, scaling.source, scaling.environment.machine.cpu


def _write(scaling: ScalingResult, path: Path) -> None:
    with atomic_text(path) as stream:
        json.dump(encode(scaling), stream, indent=1, allow_nan=False)


def _point_line(point: Point) -> str:
    return (
        f"{point.images:>7} images  {point.threads} threads  {point.wall_s:8.1f} s  {point.images_per_s:6.1f} "
        f"images/s  {point.peak_rss_mb:6.0f} MB  {point.ran_on}"
    )


def _lines(scaling: ScalingResult) -> Sequence[str]:
    return [
        f"{threads} threads: {line.start_s:.2f} s and {line.images_per_s:.2f} images/s; no point departs "
        f"by more than {line.largest_departure:.1%}; memory grows {line.memory_ratio:.3f} x"
        for threads, line in scaling.lines.items()
    ]


@click.command(cls=Command, epilog=EPILOG)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--engine", default=AUTO, show_default=True)
@click.option("--counts", metavar="N,…", type=CommaSeparated(int), default="100,1000,10000", show_default=True)
@click.option(
    "--threads", metavar="N,…", type=CommaSeparated(int), help="[default: 1 to the number of CPUs, doubling]"
)
@click.option("--data", metavar="DIR|NPZ", type=click.Path(path_type=Path), help="Real images.  [default: phantoms]")
@click.option("--json", "output", metavar="FILE", type=click.Path(path_type=Path), help="Values; kept and added to.")
@click.option("--chart", metavar="FILE", type=click.Path(path_type=Path), help="PNG or SVG.")
@debug_option
def main(
    *,
    bundle: Path,
    engine: str,
    counts: tuple[int, ...],
    threads: tuple[int, ...] | None,
    data: Path | None,
    output: Path | None,
    chart: Path | None,
) -> None:
    """Measure throughput and memory of BUNDLE for several numbers of images and threads."""
    verified = load_bundle(bundle)
    threads = threads or _doubling(os.cpu_count() or 1)
    if min((*counts, *threads)) < 1:
        raise UsageError(f"counts are {counts} and threads {threads}; all must be >= 1")
    if chart is not None:
        require_drawing()
    source = "phantoms" if data is None else str(data)
    scaling = ScalingResult(
        environment=environment(), bundle=verified.folder.name, sha256=verified.sha256, engine=engine, source=source
    )
    scaling = _with_earlier_points(scaling, output)
    for point in scaling.points:
        click.echo(_point_line(point))
    with tempfile.TemporaryDirectory() as name:
        for point in _measure_points(scaling, bundle, Path(name), [(c, t) for c in counts for t in threads], data):
            scaling = scaling.with_point(point)
            click.echo(_point_line(point))
            if output is not None:
                _write(scaling, output)
            if chart is not None:
                draw(scaling, chart)
    for line in _lines(scaling):
        click.echo(line)
    if chart is not None:
        draw(scaling, chart)


def _measure_points(
    scaling: ScalingResult, bundle: Path, work: Path, grid: Sequence[tuple[int, int]], data: Path | None
) -> Iterator[Point]:
    """Measure the points of a grid of images and threads that the result does not have, one after the other."""
    earlier = {(point.images, point.threads) for point in scaling.points}
    warm: set[int] = set()
    for count, threads in grid:
        if (count, threads) in earlier:
            continue
        folder = work / str(count)
        if not folder.exists():
            write_images(folder, count, data)
        if threads not in warm:
            measure_point(bundle, _single_image(folder, work), engine=scaling.engine, threads=threads)
            warm.add(threads)
        yield measure_point(bundle, folder, engine=scaling.engine, threads=threads)


def _single_image(folder: Path, work: Path) -> Path:
    """A folder of a single image."""
    single = work / "single"
    if not single.exists():
        single.mkdir()
        (single / "0.png").hardlink_to(min(folder.iterdir()))
    return single


def _doubling(cpus: int) -> tuple[int, ...]:
    powers = (1 << power for power in range(cpus.bit_length()))
    return tuple(sorted({*(number for number in powers if number <= cpus), cpus}))


if __name__ == "__main__":
    main()
