"""The long search for files that do more than to be read or refused.

    python -m tests.fuzz.run [--images 30000] [--bundles 5000] [--keras 500] [--json FILE]
    python -m tests.fuzz.run --one PNG 123    # that case again, with its traceback

Each case has a number, from which its file follows. A process runs some hundred of them; one that dies, hangs, raises
or prints anything names its case. Exits with 1 when there was one, or when a case took more than 5 s of CPU time or
600 MB.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.images import KINDS

LIMIT_S, LIMIT_MB = 5.0, 600.0
_HANG_S = 60
_CASES_A_PROCESS = 500


@dataclass(slots=True)
class Tally:
    """What became of the cases of a kind."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, -1)
    largest: tuple[float, int] = (0.0, -1)
    failures: list[str] = field(default_factory=list)


@contextlib.contextmanager
def runner(kind: str) -> Iterator[Callable[[int], str]]:
    """The function that runs a case of a kind by its number."""
    with tempfile.TemporaryDirectory(prefix="braintumor-fuzz-") as folder:
        if kind == "bundle":
            from tests.fuzz.bundles import Bundles

            yield Bundles(Path(folder)).outcome
        elif kind == "keras":
            from tests.fuzz import keras_files

            yield lambda index: keras_files.outcome(index, Path(folder))
        else:
            from tests.fuzz import images

            yield lambda index: images.outcome(images.case(kind, index))


def serve(kind: str, first: int, last: int) -> None:
    """Run cases in this process; each is one line of JSON on standard output, and its number before it."""
    import resource

    with runner(kind) as run:
        for index in range(first, last):
            print(index, flush=True)
            signal.alarm(_HANG_S)
            start = time.process_time()
            try:
                outcome = run(index)
            except Exception as error:  # noqa: BLE001 - what is looked for
                at = traceback.extract_tb(error.__traceback__)[-1]
                outcome = f"{type(error).__name__}: {str(error)[:200]} ({at.filename}:{at.lineno})"
            seconds = time.process_time() - start
            signal.alarm(0)
            peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
            print(json.dumps([index, outcome, seconds, peak_mb]), flush=True)


def search(kind: str, count: int) -> Tally:
    """Run the cases 0 to `count` of a kind in processes of their own."""
    tally, first = Tally(), 0
    while first < count:
        last = min(first + _CASES_A_PROCESS, count)
        command = [sys.executable, "-m", "tests.fuzz.run", "--serve", kind, str(first), str(last)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        for line in lines:
            if line.startswith("["):
                _count(tally, *json.loads(line))
        if done.stderr:
            tally.failures.append(f"{first} to {last} print: {done.stderr[:500]}")
        if done.returncode:
            reached = next(int(line) for line in reversed(lines) if line.isdigit())
            tally.failures.append(f"{reached} ends its process with {done.returncode}")
            last = reached + 1
        first = last
        print(f"\r{kind} {first} of {count}, {len(tally.failures)} failures", end="", file=sys.stderr)
    print(file=sys.stderr)
    return tally


def _count(tally: Tally, index: int, outcome: str, seconds: float, peak_mb: float) -> None:
    tally.slowest = max(tally.slowest, (seconds, index))
    tally.largest = max(tally.largest, (peak_mb, index))
    tally.outcomes[outcome.partition(":")[0]] += 1
    if ":" in outcome:
        tally.failures.append(f"{index}: {outcome}")
    if seconds > LIMIT_S:
        tally.failures.append(f"{index} takes {seconds:.1f} s")
    if peak_mb > LIMIT_MB:
        tally.failures.append(f"{index} takes {peak_mb:.0f} MB")


def main() -> None:
    """Run the search."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=30_000, help="over all formats")
    parser.add_argument("--bundles", type=int, default=5_000)
    parser.add_argument("--keras", type=int, default=500)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--one", nargs=2, metavar=("KIND", "INDEX"))
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        kind, first, last = options.serve
        serve(kind, int(first), int(last))
        return
    if options.one:
        with runner(options.one[0]) as run:
            print(run(int(options.one[1])))
        return
    with contextlib.suppress(AttributeError, OSError):
        os.nice(10)
    plan = {kind: options.images // len(KINDS) for kind in KINDS} | {
        "bundle": options.bundles,
        "keras": options.keras,
    }
    tallies = {kind: search(kind, count) for kind, count in plan.items() if count}
    for kind, tally in tallies.items():
        counts = ", ".join(f"{count} {outcome}" for outcome, count in tally.outcomes.most_common())
        seconds, at = tally.slowest
        print(f"{kind}: {counts}; slowest {1000 * seconds:.1f} ms ({at}), largest {tally.largest[0]:.0f} MB")
        for failure in tally.failures:
            print(f"  {failure}")
    if options.json:
        figures = {
            kind: {"outcomes": tally.outcomes, "slowest": tally.slowest, "largest": tally.largest}
            for kind, tally in tallies.items()
        }
        options.json.write_text(json.dumps(figures, indent=1))
    sys.exit(any(tally.failures for tally in tallies.values()))


if __name__ == "__main__":
    main()
