"""From nothing to an answer: cold exports and whether they repeat, a fresh installation, `make demo`.

    python bench/perf/first_answer.py [--environment DIR] [--rounds 3]

All commands run in a new environment of `pip install '.[cpu]'`, without Keras (pip needs its index for that, or its
cache), and each starts from an empty cache. On a machine with other work wall times are longer: compare CPU times.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from braintumor.bench.metrics.process import ProcessRun, run_process
from braintumor.errors import BraintumorError
from braintumor.runtime.bundle.load import load_bundle

__all__ = ["Exports", "FirstAnswer", "cold_exports", "first_answer_lines", "measure_first_answer"]

_ROOT: Final = Path(__file__).resolve().parents[2]
# Files of a checkout that are built in it, or that no command here reads.
_NOT_COPIED: Final = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "bundles", "runs")

Step = Callable[[str], object]
"""Is called with each measurement that begins, in words."""


@dataclass(frozen=True, slots=True)
class Exports:
    """Repeated runs of one export, each from an empty cache and with another hash seed.

    Attributes:
        precision: Of the bundle.
        runs: All runs; those that failed have a `returncode`.
        bundles: SHA-256 of the bundle of each run that succeeded.
    """

    precision: str
    runs: tuple[ProcessRun, ...]
    bundles: tuple[str, ...]

    @property
    def succeeded(self) -> tuple[ProcessRun, ...]:
        """The runs that wrote a bundle."""
        return tuple(run for run in self.runs if run.returncode == 0)

    @property
    def equal(self) -> int:
        """Number of runs that wrote the most frequent bundle."""
        return max(Counter(self.bundles).values(), default=0)


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """All measurements.

    Attributes:
        exports: At fp16 and at int8.
        install: `pip install '.[cpu]'` into a fresh environment; None if there was one already.
        answer: The first `bt-infer`, which exports the starter bundle.
        demo: `make demo` in a fresh checkout; None if make is not installed.
    """

    exports: tuple[Exports, ...]
    install: ProcessRun | None
    answer: ProcessRun
    demo: ProcessRun | None


def measure_first_answer(environment: Path, rounds: int, step: Step) -> FirstAnswer:
    """Measure everything.

    Args:
        environment: Folder of the virtual environment; created if it is missing.
        rounds: Cold exports at each precision, at least 1.
        step: Is called with each measurement that begins.

    Raises:
        BraintumorError: The installation, the first answer or the demo failed.
        UnavailableError: On Windows, see `run_process`.
    """
    install = None if (environment / "bin" / "bt-infer").exists() else _installed(environment, step)
    exports = tuple(cold_exports(environment, precision, rounds, step) for precision in ("fp16", "int8"))
    with tempfile.TemporaryDirectory(prefix="braintumor-") as folder:
        work = Path(folder)
        step("first bt-infer, which exports the starter bundle")
        command = [_program(environment, "bt-infer"), str(_ROOT / "examples" / "scan.png"), "--format", "jsonl"]
        answer = _checked(command, run_process(command, environment=_empty_cache(work), folder=work))
        demo = _demo(work, step) if shutil.which("make") else None
    return FirstAnswer(exports, install, answer, demo)


def cold_exports(environment: Path, precision: str, rounds: int, step: Step, models: Sequence[Path] = ()) -> Exports:
    """Export repeatedly, each time from an empty cache.

    Args:
        environment: Folder of the virtual environment.
        precision: As `bt-export --precision` takes it.
        rounds: Number of exports.
        step: Is called before each.
        models: `.keras` files to export; () for the default models.
    """
    runs, bundles = [], []
    for number in range(1, rounds + 1):
        step(f"cold bt-export --precision {precision}, {number} of {rounds}")
        with tempfile.TemporaryDirectory(prefix="braintumor-") as folder:
            work, bundle = Path(folder), Path(folder) / "bundle"
            command = [_program(environment, "bt-export"), *map(str, models)]
            run = run_process(
                [*command, "--precision", precision, "--bundle", str(bundle)],
                environment={**_empty_cache(work), "PYTHONHASHSEED": str(number)},
                folder=work,
            )
            runs.append(run)
            if run.returncode == 0:
                bundles.append(load_bundle(bundle).sha256)
    return Exports(precision, tuple(runs), tuple(bundles))


def first_answer_lines(result: FirstAnswer) -> Iterator[str]:
    """Lines of a table, and the outcome of the repeated exports."""
    yield f"{'':<40} {'wall s':>8} {'CPU s':>8} {'peak MB':>8}"
    for exports in result.exports:
        yield _row(f"cold bt-export --precision {exports.precision}", exports.succeeded)
    yield _row("pip install '.[cpu]'", [result.install] if result.install else [])
    yield _row("first bt-infer", [result.answer])
    yield _row("make demo, with its installation", [result.demo] if result.demo else [])
    for exports in result.exports:
        count = len(exports.runs)
        yield (
            f"{exports.precision}: {len(exports.succeeded)} of {count} exports succeeded, "
            f"{exports.equal} of {count} wrote the same bundle"
        )


def _row(name: str, runs: Sequence[ProcessRun]) -> str:
    """A line of medians, or of dashes if nothing was measured."""
    if not runs:
        return f"{name:<40} {'-':>8} {'-':>8} {'-':>8}"
    wall_s, cpu_s, peak_mb = (
        statistics.median(getattr(run, field) for run in runs) for field in ("wall_s", "cpu_s", "peak_rss_mb")
    )
    return f"{name:<40} {wall_s:>8.1f} {cpu_s:>8.1f} {peak_mb:>8.0f}"


def _installed(environment: Path, step: Step) -> ProcessRun:
    step("pip install '.[cpu]' into a fresh environment")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    with tempfile.TemporaryDirectory(prefix="braintumor-") as folder:
        # pip builds in the source tree, which another build may be using at the same time.
        source = Path(folder) / "source"
        shutil.copytree(_ROOT, source, ignore=_NOT_COPIED)
        command = [_program(environment, "python"), "-m", "pip", "install", "--quiet", f"{source}[cpu]"]
        return _checked(command, run_process(command))


def _demo(work: Path, step: Step) -> ProcessRun:
    step("make demo in a fresh checkout")
    checkout = work / "checkout"
    shutil.copytree(_ROOT, checkout, ignore=_NOT_COPIED)
    command = ["make", "demo", f"PYTHON={sys.executable}"]
    cache = work / "demo"
    cache.mkdir()
    return _checked(command, run_process(command, environment=_empty_cache(cache), folder=checkout))


def _empty_cache(work: Path) -> dict[str, str]:
    return {"BRAINTUMOR_CACHE": str(work / "cache"), "BRAINTUMOR_BUNDLE": "", "BRAINTUMOR_DATA": ""}


def _program(environment: Path, name: str) -> str:
    return str(environment.absolute() / "bin" / name)


def _checked(command: Sequence[str], run: ProcessRun) -> ProcessRun:
    if run.returncode != 0:
        raise BraintumorError(
            f"{' '.join(command)} ended with exit status {run.returncode}", "run it by hand to see why"
        )
    return run


@click.command()
@click.option(
    "--environment",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Virtual environment to measure in; made where it is missing.  [default: a temporary one]",
)
@click.option(
    "--rounds", type=click.IntRange(1), default=3, show_default=True, help="Cold exports at each precision."
)
def main(environment: Path | None, rounds: int) -> None:
    """Measure the way from nothing to the first answer."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="braintumor-") as folder:
        result = measure_first_answer(
            environment or Path(folder) / "environment", rounds, lambda name: click.echo(name, err=True)
        )
    click.echo(
        f"{os.cpu_count()} CPUs, load {load:.1f} at the start and {os.getloadavg()[0]:.1f} at the end; medians"
    )
    for line in first_answer_lines(result):
        click.echo(line)


if __name__ == "__main__":
    main()
