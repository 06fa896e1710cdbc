"""Real commands end rightly whenever a signal comes: exit code, files as before, no process that goes on."""

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from braintumor.cache import CACHE_VARIABLE
from braintumor.runtime.bundle import load_bundle
from tests.support.paths import BIN, ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc names the processes of a command")

_MARK = "BRAINTUMOR_TEST_RUN"
_HANG_S = 60
_SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
# Where libraries are imported, models loaded, and work is done; seconds.
_LONGEST_S = 7.0


@dataclass(frozen=True)
class Ended:
    """What became of a command."""

    code: int
    stderr: str
    orphans: list[str]


def processes_of(mark: str) -> Iterator[str]:
    """Command lines of the living processes that inherited a mark."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{_MARK}={mark}".encode() in (folder / "environ").read_bytes():
                yield (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has ended, or is another user's
            continue


def signalled(command: list[str | Path], number: signal.Signals, after_s: float, folder: Path) -> Ended:
    """Start a command, send it a signal, and wait for its end and for that of its children."""
    mark = uuid.uuid4().hex
    environment = os.environ | {_MARK: mark, CACHE_VARIABLE: str(folder / "cache")}
    with (folder / "stderr").open("w+") as stderr:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=stderr, stdin=subprocess.DEVNULL
        )
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        code = process.wait(_HANG_S)
        # A child notices the end of its parent at once, but is not waited for.
        end = time.monotonic() + 10
        while (orphans := list(processes_of(mark))) and time.monotonic() < end:
            time.sleep(0.05)
        stderr.seek(0)
        return Ended(code, stderr.read(), orphans)


def check_signalled(command: list[str | Path], number: signal.Signals, after_s: float, folder: Path) -> None:
    """The command ends by the signal, or was done before; no file is half-written."""
    before = sorted(folder.iterdir())
    ended = signalled(command, number, after_s, folder)
    where = f"{number.name} after {after_s:.2f} s: {ended}"
    # Before the command runs, while Python starts, the system or Python itself ends it.
    assert ended.code in {0, 128 + number, -number}, where
    assert ended.orphans == [], where
    if ended.code > 0:
        assert ended.stderr.splitlines()[-1].startswith("Error: "), where
        assert "Traceback" not in ended.stderr, where
    left = {path.name for path in folder.iterdir()} - {path.name for path in before} - {"stderr", "cache"}
    assert left <= {"bundle"}, where
    if (folder / "bundle").exists():
        load_bundle(folder / "bundle")
    assert [path.name for path in (folder / "cache").rglob("*.part")] == [], where


@pytest.fixture
def exporting(small_keras: Callable[..., Path]) -> list[str | Path]:
    """A command that converts and verifies a small model, with Keras in a process of its own."""
    return [BIN / "bt-export", small_keras(), "--precision", "fp32", "--bundle", "bundle"]


@pytest.fixture(scope="session")
def small_bundle(small_keras: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "bundle"
    subprocess.run([BIN / "bt-export", small_keras(), "--precision", "fp32", "--bundle", folder], check=True)
    return folder


@pytest.mark.parametrize("number", _SIGNALS)
def test_bt_infer_ends_by_a_signal(number: signal.Signals, tmp_path: Path, small_bundle: Path) -> None:
    command = [BIN / "bt-infer", ROOT / "examples" / "scan.png", "--bundle", small_bundle, "--output", "answer.json"]
    ended = signalled(command, number, random.uniform(0.1, 1.0), tmp_path)  # noqa: S311 - a moment
    assert ended.code in {0, 128 + number, -number}, ended
    assert ended.orphans == []
    assert (tmp_path / "answer.json").exists() == (ended.code == 0)


@pytest.mark.parametrize("number", _SIGNALS)
def test_bt_export_ends_by_a_signal(number: signal.Signals, tmp_path: Path, exporting: list[str | Path]) -> None:
    check_signalled(exporting, number, random.uniform(0.5, 3.0), tmp_path)  # noqa: S311 - a moment


def test_bt_export_that_is_killed_leaves_no_process(tmp_path: Path, exporting: list[str | Path]) -> None:
    ended = signalled(exporting, signal.SIGKILL, 2.5, tmp_path)
    assert ended.orphans == [], ended


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_bt_export_ends_by_a_signal_at_any_moment(seed: int, tmp_path: Path, exporting: list[str | Path]) -> None:
    moment = random.Random(seed)  # noqa: S311 - repeatable
    check_signalled(exporting, _SIGNALS[seed % 3], moment.uniform(0.1, _LONGEST_S), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_bt_bench_ends_by_a_signal_at_any_moment(seed: int, tmp_path: Path, small_bundle: Path) -> None:
    moment = random.Random(seed)  # noqa: S311 - repeatable
    command = [BIN / "bt-bench", "latency", small_bundle, "--engine", "all", "--batch", "1", "--rounds", "4"]
    check_signalled([*command, "--seconds", "1"], _SIGNALS[seed % 3], moment.uniform(0.1, _LONGEST_S), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_bt_export_sweeps_what_a_killed_one_left(seed: int, tmp_path: Path, exporting: list[str | Path]) -> None:
    ended = signalled(exporting, signal.SIGKILL, random.Random(seed).uniform(0.5, _LONGEST_S), tmp_path)  # noqa: S311
    assert ended.orphans == [], ended
    assert signalled(exporting, signal.SIGKILL, _HANG_S, tmp_path).code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "cache", "stderr"}
    load_bundle(tmp_path / "bundle")
