"""The starter bundle: exported once however many processes ask, whole after a killed export.

The real exporter works, in an installation without Keras, on a small model in the place of those that ship.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.paths import SCAN

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills processes by signal")


# Prints each step and, at the first, waits until there is a file of a name, if one is given.
SCRIPT = """
import sys, time
from pathlib import Path
from braintumor.progress import Step
from braintumor.runtime.bundle import starter

model, gate = Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None
starter.shipped_weights = lambda: (model,)

def tell(event):
    print(event.title if isinstance(event, Step) else event.text, flush=True)
    while gate is not None and not gate.exists():
        time.sleep(0.05)

bundle = starter.starter_bundle(tell)
print("bundle", bundle.sha256, bundle.folder)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def start(light: Path, cache: Path, small_keras: Callable[..., Path], tmp_path: Path) -> Iterator[Start]:
    """Starts a process that asks for the starter bundle."""
    running: list[subprocess.Popen[str]] = []

    def begin(*arguments: Path) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [light / "python", "-c", SCRIPT, small_keras("starter", seed=11), *arguments],
            env={**os.environ, "BRAINTUMOR_CACHE": str(cache)},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_two_processes_at_once_export_once(start: Start, cache: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    exporting = start(gate)
    assert first_line(exporting) != "waiting"
    waiting = start()
    assert first_line(waiting) == "waiting"
    gate.touch()
    ended = [process.communicate(timeout=300)[0].splitlines() for process in (exporting, waiting)]
    assert [process.returncode for process in (exporting, waiting)] == [0, 0]
    assert ended[0][-1] == ended[1][-1]
    assert ended[0][-1].startswith("bundle ")
    assert any("exporting at fp32" in line for line in ended[0])
    assert len(ended[1]) == 1
    (entry,) = (path for path in (cache / "starter").iterdir() if path.name != ".lock")
    assert (entry / "starter" / "bundle.json").is_file()


def test_after_a_killed_export_the_next_one_exports_and_clears_away(
    start: Start, cache: Path, tmp_path: Path
) -> None:
    killed = start(tmp_path / "never")
    first_line(killed)
    killed.kill()
    killed.wait()
    left = [path.name for path in (cache / "starter").iterdir()]
    assert any(name.startswith(".") and name != ".lock" for name in left)
    following = start()
    printed, _ = following.communicate(timeout=300)
    assert following.returncode == 0
    names = sorted(path.name for path in (cache / "starter").iterdir())
    assert names == [".lock", Path(printed.splitlines()[-1].split(" ", 2)[2]).parent.name]


def test_a_damaged_starter_is_exported_again(start: Start) -> None:
    printed, _ = start().communicate(timeout=300)
    _, sha256, folder = printed.splitlines()[-1].split(" ", 2)
    next(Path(folder).glob("*/model.onnx")).write_bytes(b"damaged")
    again, _ = start().communicate(timeout=300)
    assert any("exporting at fp32" in line for line in again.splitlines())
    assert again.splitlines()[-1] == f"bundle {sha256} {folder}"


def test_a_cache_that_cannot_be_written_is_one_line_with_the_way_out(light: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [light / "bt-infer", SCAN],
        env={**os.environ, "BRAINTUMOR_CACHE": str(tmp_path / "file" / "cache")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: the cache {tmp_path / 'file' / 'cache'}")
    assert "export BRAINTUMOR_CACHE=DIR" in line


def test_bt_doctor_tells_that_the_first_bt_infer_will_export(light: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "BRAINTUMOR_CACHE": str(tmp_path / "cache")}

    def reason(**more: str) -> str:
        done = subprocess.run(
            [light / "bt-doctor", "--json"],
            env=environment | more,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        bundle = json.loads(done.stdout)["bundle"]
        assert not bundle["found"]
        return str(bundle["reason"])

    assert "the first bt-infer exports the models that come with the package" in reason()
    assert "bt-export" in reason(BRAINTUMOR_STARTER="0")
