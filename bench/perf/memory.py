"""Peak memory of `bt-infer` over a small and a large folder: it must not grow with the number of images.

python bench/perf/memory.py [--small 500] [--large 5000]
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click

from braintumor.bench.metrics.process import ProcessRun, run_process
from braintumor.bench.perf.scaling import write_images
from braintumor.errors import BraintumorError
from braintumor.models.catalog import ENSEMBLE

__all__ = ["MemoryGrowth", "measure_growth"]


@dataclass(frozen=True, slots=True)
class MemoryGrowth:
    """Peak memory over two folders.

    Attributes:
        small: The run over the small folder.
        large: The run over the large one.
    """

    small: ProcessRun
    large: ProcessRun

    @property
    def growth_mb(self) -> float:
        """Peak of the large folder minus that of the small one, in 1e6 bytes."""
        return self.large.peak_rss_mb - self.small.peak_rss_mb


def measure_growth(bundle: Path, work: Path, *, small: int, large: int) -> MemoryGrowth:
    """Run `bt-infer` over a folder of `small` images, then over one of `large`.

    Args:
        bundle: The bundle to use.
        work: An empty folder for images and predictions.
        small: Number of images in the small folder.
        large: Number of images in the large folder.

    Raises:
        BraintumorError: A run failed, or did not give a prediction for every image.
    """
    runs = []
    for count in (small, large):
        folder = work / str(count)
        write_images(folder, count, None)
        output = work / f"{count}.jsonl"
        infer = str(Path(sys.executable).with_name("bt-infer"))
        run = run_process([infer, str(folder), "--bundle", str(bundle), "--output", str(output)])
        predictions = len(output.read_bytes().splitlines()) if run.returncode == 0 else 0
        if predictions != count:
            raise BraintumorError(
                f"bt-infer gave {predictions} predictions for {count} images, with exit status {run.returncode}",
                "run it by hand to see why",
            )
        runs.append(run)
    return MemoryGrowth(*runs)


@click.command()
@click.option("--small", type=click.IntRange(1), default=500, show_default=True, help="Images in the small folder.")
@click.option("--large", type=click.IntRange(1), default=5000, show_default=True, help="Images in the large folder.")
def main(small: int, large: int) -> None:
    """Measure with the shipped ensemble in FP32."""
    with tempfile.TemporaryDirectory() as name:
        bundle = Path(name) / "fp32"
        export = str(Path(sys.executable).with_name("bt-export"))
        shipped = (Path(__file__).resolve().parents[2] / "models" / "pretrained").glob("*.keras")
        models = sorted(path for path in shipped if path.stem in ENSEMBLE)
        run_process([export, *map(str, models), "--precision", "fp32", "--bundle", str(bundle)])
        result = measure_growth(bundle, Path(name) / "work", small=small, large=large)
    for count, run in ((small, result.small), (large, result.large)):
        click.echo(f"{count:>6} images  {run.peak_rss_mb:6.0f} MB  {count / run.wall_s:6.1f} images/s")
    click.echo(f"growth         {result.growth_mb:6.0f} MB")


if __name__ == "__main__":
    main()
