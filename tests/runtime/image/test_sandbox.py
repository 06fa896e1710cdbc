"""A file over which a decoder hangs, crashes or takes too much memory costs its own error, in real processes."""

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from braintumor.errors import UsageError
from braintumor.runtime.image import sandbox as sandbox_module
from braintumor.runtime.image.geometry import Geometry
from braintumor.runtime.image.loading import prepare_image
from braintumor.runtime.image.sandbox import Sandbox
from tests.support.paths import SCAN

GEOMETRIES = (Geometry(32, 40), Geometry(16, 16, "nearest", "head"))
LIMIT_S = 1.0

# What no file is known to do, a decoder does here at a word.
TROUBLE = """
import os
from braintumor.runtime.image import sandbox_worker

decode = sandbox_worker.decode_grey

def troubled(name, data):
    if data == b"hang":
        while True:
            pass
    if data == b"abort":
        os.abort()
    if data == b"raise":
        raise AssertionError
    if data == b"print":
        os.write(1, b"chatter"); os.write(2, b"chatter")
    return decode(name, data)

sandbox_worker.decode_grey = troubled
if __name__ == "__main__":
    sandbox_worker.main()
"""


def png(side: int = 48, mode: str = "L") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (side, side), 7).save(file, "PNG", compress_level=1)
    return file.getvalue()


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("module")
    (folder / "troubled_worker.py").write_text(TROUBLE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.setattr(sandbox_module, "_MODULE", "troubled_worker")
        with Sandbox(processes=1, image_seconds=LIMIT_S) as sandbox:
            yield sandbox


def test_sandbox_worker_is_light() -> None:
    program = (
        "import sys, braintumor.runtime.image.sandbox_worker; "
        "print({'click', 'onnx', 'onnxruntime', 'openvino', 'rich', 'tensorrt'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


def test_sandbox_gives_what_decoding_here_gives(tmp_path: Path) -> None:
    array = np.arange(64, dtype=np.uint8).reshape(8, 8)
    (tmp_path / "bad.png").write_bytes(b"no image")
    sources = (SCAN, str(SCAN), png(), bytearray(png()), array, tmp_path / "bad.png", tmp_path / "none.png", 7)
    with Sandbox(processes=1) as sandbox:
        for source in sources:
            inside, outside = sandbox.prepare(source, GEOMETRIES), prepare_image(source, GEOMETRIES)
            assert inside.image == outside.image
            assert str(inside.error) == str(outside.error)
            assert inside.pixels.keys() == outside.pixels.keys()
            assert all(np.array_equal(inside.pixels[key], outside.pixels[key]) for key in outside.pixels)


@pytest.mark.parametrize(
    ("word", "reason"),
    [(b"hang", "more than 1 s"), (b"abort", "SIGABRT"), (b"raise", "exit code 1")],
)
def test_sandbox_replaces_a_process_that_fails(troubled: Sandbox, word: bytes, reason: str) -> None:
    if sys.platform == "win32" and word == b"abort":
        reason = "exit code"
    assert reason in str(troubled.prepare(word, GEOMETRIES).error)
    assert troubled.prepare(png(), GEOMETRIES).error is None


def test_sandbox_replaces_a_process_that_was_ended_meanwhile(troubled: Sandbox) -> None:
    (worker,) = troubled._workers
    worker._process.kill()
    worker._process.wait()
    assert troubled.prepare(png(), GEOMETRIES).error is None


def test_sandbox_keeps_what_decoders_print_off_the_terminal(
    troubled: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "not an image" in str(troubled.prepare(b"print", GEOMETRIES).error)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit memory")
def test_sandbox_limits_the_memory_of_an_image() -> None:
    large = png(3000, "RGBA")  # 36 MB as pixels
    with Sandbox(processes=1, image_mb=25) as small:
        assert "memory" in str(small.prepare(large, GEOMETRIES).error)
        assert small.prepare(png(), GEOMETRIES).error is None
        assert "more than the 25 MB" in str(small.prepare(bytes(25_000_001), GEOMETRIES).error)
    with Sandbox(processes=1, image_seconds=60) as usual:
        assert usual.prepare(large, GEOMETRIES).error is None


def test_sandbox_serves_more_threads_than_it_has_processes() -> None:
    with Sandbox(processes=2) as sandbox, ThreadPoolExecutor(6) as pool:
        images = list(pool.map(lambda _: sandbox.prepare(SCAN, GEOMETRIES), range(60)))
    assert {image.error for image in images} == {None}


@pytest.mark.usefixtures("troubled")
def test_sandbox_closed_ends_what_is_being_decoded() -> None:
    with Sandbox(processes=1, image_seconds=600) as sandbox:
        sandbox.prepare(png(), GEOMETRIES)
        begun = threading.Event()

        def hang() -> object:
            begun.set()
            return sandbox.prepare(b"hang", GEOMETRIES)

        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(hang)
            begun.wait()
            sandbox.close()
            with pytest.raises(UsageError, match="closed"):
                future.result(60)
    sandbox.close()
    with pytest.raises(UsageError, match="closed"):
        sandbox.prepare(png(), GEOMETRIES)


@pytest.mark.parametrize("options", [{"processes": 0}, {"image_seconds": 0.0}, {"image_mb": -1}])
def test_sandbox_refuses_limits_that_allow_nothing(options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="must be > 0"):
        Sandbox(**options)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_sandbox_processes_end_when_their_parent_is_killed() -> None:
    program = (
        "import sys, time; from braintumor.runtime.image.sandbox import Sandbox\n"
        "sandbox = Sandbox(processes=2)\n"
        "print(*(worker._process.pid for worker in sandbox._workers), flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    parent.kill()
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    assert len(workers) == 2
    for worker in workers:
        # One that nobody has waited for yet is a zombie.
        while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
            os.sched_yield()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_sandbox_is_not_for_a_fork(troubled: Sandbox) -> None:
    child = os.fork()
    if child == 0:
        try:
            troubled.prepare(png(), GEOMETRIES)
        except UsageError:
            troubled.close()
            os._exit(9)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert troubled.prepare(png(), GEOMETRIES).error is None
