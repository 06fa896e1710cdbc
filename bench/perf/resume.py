"""The cost of `bt-infer --resume`: whole runs with and without it over the same images, in turns.

python bench/perf/resume.py BUNDLE FOLDER [--images 300] [--runs 7] [--engine onnxruntime-cpu] [--audit]
"""

import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from braintumor.bench.metrics.process import ProcessRun, run_process
from braintumor.bench.metrics.ratio import Ratio, paired_ratio
from braintumor.errors import BraintumorError
from braintumor.runtime.image.folder import list_images
from braintumor.system.cpu import cpu_model

__all__ = ["ResumeCost", "measure_resume"]


@dataclass(frozen=True, slots=True)
class ResumeCost:
    """Runs of both, pair by pair.

    Attributes:
        images: That each run answered.
        plain: Without `--resume`.
        resumed: With it, into a new file.
    """

    images: int
    plain: Sequence[ProcessRun]
    resumed: Sequence[ProcessRun]

    @property
    def throughput_ratio(self) -> float:
        """Images per second with `--resume` over those without, each of the median run."""
        return _median_s(self.plain) / _median_s(self.resumed)

    def paired(self, field: str) -> Ratio:
        """What a run without took over what one with `--resume` took, pair by pair; below 1, `--resume` costs.

        Args:
            field: "wall_s" or "cpu_s", of `ProcessRun`.
        """
        return paired_ratio(
            [getattr(run, field) for run in self.resumed], [getattr(run, field) for run in self.plain]
        )


def measure_resume(
    bundle: Path, images: Sequence[Path], *, runs: int, engine: str, audit: bool = False
) -> ResumeCost:
    """Run both in turns; which begins changes from pair to pair.

    Args:
        bundle: A bundle.
        images: Image files, at least 2.
        runs: Of each.
        engine: Its name.
        audit: Write an audit log, too, with `--resume`.

    Raises:
        BraintumorError: A run failed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        linked = folder / "images"
        linked.mkdir()
        for index, image in enumerate(images):
            (linked / f"{index:05}{image.suffix}").symlink_to(image.resolve())
        infer = str(Path(sys.executable).with_name("bt-infer"))
        command = [infer, str(linked), "--bundle", str(bundle), "--engine", engine, "--output"]
        logged = ["--audit", str(folder / "audit.jsonl")] if audit else []

        def run(number: int, *, resume: bool) -> ProcessRun:
            output = str(folder / f"{'resumed' if resume else 'plain'}{number}.jsonl")
            done = run_process([*command, output, *(["--resume", *logged] if resume else [])])
            if done.returncode != 0:
                raise BraintumorError(
                    f"a measured command ended with exit status {done.returncode}", "run it by hand"
                )
            return done

        run(-1, resume=False)
        plain: list[ProcessRun] = []
        resumed: list[ProcessRun] = []
        for number in range(runs):
            for resume in (False, True) if number % 2 else (True, False):
                (resumed if resume else plain).append(run(number, resume=resume))
    return ResumeCost(len(images), plain, resumed)


def _median_s(runs: Sequence[ProcessRun]) -> float:
    return statistics.median(run.wall_s for run in runs)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True))
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--images", type=click.IntRange(2), default=300, show_default=True, help="Evenly spread over FOLDER.")
@click.option("--runs", type=click.IntRange(1), default=7, show_default=True, help="Of each.")
@click.option("--engine", default="onnxruntime-cpu", show_default=True, help="What runs the models.")
@click.option("--audit", is_flag=True, help="Write an audit log with --resume.")
def main(*, bundle: Path, folder: Path, images: int, runs: int, engine: str, audit: bool) -> None:
    """Compare the two on the images of FOLDER."""
    files = list_images(folder)
    chosen = files[:: max(1, len(files) // images)][:images]
    cost = measure_resume(bundle, chosen, runs=runs, engine=engine, audit=audit)
    click.echo(f"{cost.images} images, {runs} runs of each in turns, {engine}, {cpu_model()}, {os.cpu_count()} CPUs")
    for name, processes in (("without", cost.plain), ("--resume", cost.resumed)):
        cpu_s = statistics.median(run.cpu_s for run in processes)
        wall_s = _median_s(processes)
        click.echo(f"  {name:<9} {wall_s:7.2f} s  {cost.images / wall_s:7.1f} images/s  {cpu_s:7.2f} s of CPU")
    click.echo(f"  throughput with --resume: {cost.throughput_ratio:.3f} of that without")
    for title, field in (("time", "wall_s"), ("CPU time", "cpu_s")):
        ratio = cost.paired(field)
        click.echo(f"  {title} without over with it: {ratio.median:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]")


if __name__ == "__main__":
    main()
