"""Start-up of `bt-infer scan.png` and of a plain Keras script, as whole processes.

    python bench/perf/startup.py [--runs 7]

Both run the same scan with the same weights, in turns, and their probabilities are compared. The Keras script is what
one writes without this package: load the `.keras` file, open the image, predict.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from braintumor.bench.metrics.process import ProcessRun, run_process
from braintumor.errors import BraintumorError

__all__ = ["StartupComparison", "compare_startup"]

_KERAS_SCRIPT: Final = """
import sys
import keras, numpy as np
from PIL import Image
model = keras.saving.load_model(sys.argv[1], compile=False)
_, height, width, channels = model.input_shape
image = Image.open(sys.argv[2]).convert("L").resize((width, height), Image.Resampling.BILINEAR)
pixels = np.repeat(np.asarray(image, np.float32)[None, :, :, None], channels, axis=-1)
print(",".join(str(p) for p in model.predict(pixels, verbose=0)[0].tolist()))
"""

_SAME: Final = 0.01


@dataclass(frozen=True, slots=True)
class StartupComparison:
    """Runs of both, in their order (ours first in each pair).

    Attributes:
        ours: `bt-infer`, after one run that caches its optimised graph.
        keras: The plain script.
    """

    ours: Sequence[ProcessRun]
    keras: Sequence[ProcessRun]

    @property
    def wall_ratio(self) -> float:
        """Median wall time of ours over that of Keras."""
        return _median(self.ours, "wall_s") / _median(self.keras, "wall_s")

    @property
    def memory_ratio(self) -> float:
        """Median peak memory of ours over that of Keras."""
        return _median(self.ours, "peak_rss_mb") / _median(self.keras, "peak_rss_mb")


def compare_startup(model: Path, bundle: Path, image: Path, *, runs: int) -> StartupComparison:
    """Run both in turns.

    Args:
        model: The `.keras` file.
        bundle: A bundle that was exported from it.
        image: An image file.
        runs: Runs of each, at least 1.

    Raises:
        BraintumorError: A run failed, or the probabilities differ, so that the times cannot be compared.
    """
    infer = str(Path(sys.executable).with_name("bt-infer"))
    ours_command = [infer, str(image), "--bundle", str(bundle), "--format", "jsonl"]
    keras_command = [sys.executable, "-c", _KERAS_SCRIPT, str(model), str(image)]
    _checked(run_process(ours_command))
    ours, keras = [], []
    for _ in range(runs):
        ours.append(_checked(run_process(ours_command)))
        keras.append(_checked(run_process(keras_command, environment={"TF_CPP_MIN_LOG_LEVEL": "3"})))
    _require_agreement(ours[-1], keras[-1])
    return StartupComparison(ours, keras)


def _checked(run: ProcessRun) -> ProcessRun:
    if run.returncode != 0:
        raise BraintumorError(
            f"a measured command ended with exit status {run.returncode}", "run it by hand to see why"
        )
    return run


def _require_agreement(ours: ProcessRun, keras: ProcessRun) -> None:
    actual = list(json.loads(ours.stdout)["probabilities"].values())
    expected = [float(value) for value in keras.stdout.strip().splitlines()[-1].split(",")]
    difference = max(abs(a - b) for a, b in zip(actual, expected, strict=True))
    if difference > _SAME:
        raise BraintumorError(
            f"the probabilities of bt-infer and Keras differ by {difference:.3g}; must be at most {_SAME}"
        )


def _median(runs: Sequence[ProcessRun], field: str) -> float:
    return float(statistics.median(getattr(run, field) for run in runs))


@click.command()
@click.option("--runs", type=click.IntRange(1), default=7, show_default=True, help="Of each.")
def main(runs: int) -> None:
    """Compare on the shipped weights and the example scan."""
    root = Path(__file__).resolve().parents[2]
    model, image = root / "models/pretrained/DenseNet121.keras", root / "examples/scan.png"
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("fp32", "fp16"):
            bundle = Path(folder) / precision
            export = str(Path(sys.executable).with_name("bt-export"))
            _checked(run_process([export, str(model), "--precision", precision, "--bundle", str(bundle)]))
            result = compare_startup(model, bundle, image, runs=runs)
            click.echo(f"{precision}, {runs} runs of each, medians")
            for name, processes in (("bt-infer", result.ours), ("Keras", result.keras)):
                click.echo(
                    f"  {name:<9} {_median(processes, 'wall_s'):6.2f} s  {_median(processes, 'peak_rss_mb'):7.0f} MB"
                )
            click.echo(f"  ratio     {result.wall_ratio:6.3f}    {result.memory_ratio:7.3f}")


if __name__ == "__main__":
    main()
