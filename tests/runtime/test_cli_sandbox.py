"""`bt-infer` decodes in processes of its own: doubtful files cost one record each, and nothing is left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import pack

import psutil
import pytest
from PIL import Image

RUN = [sys.executable, "-P", "-c", "from braintumor.runtime.cli import main; main()"]
ENGINE = ("--engine", "onnxruntime-cpu")


def infer(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*RUN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=120)


def chunk(kind: bytes, body: bytes) -> bytes:
    return pack(">I", len(body)) + kind + body + pack(">I", zlib.crc32(kind + body))


@pytest.fixture
def doubtful(tmp_path: Path, scans: list[Path]) -> Path:
    """Two scans, a palette image without its palette, and a picture of 36 MB."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for number, scan in enumerate(scans[:2]):
        shutil.copy(scan, folder / f"{number}.png")
    header = chunk(b"IHDR", pack(">IIBBBBB", 2, 2, 8, 3, 0, 0, 0))
    body = header + chunk(b"IDAT", zlib.compress(bytes(6))) + chunk(b"IEND", b"")
    (folder / "palette.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    Image.new("RGBA", (3000, 3000)).save(folder / "z.png", compress_level=1)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit memory")
def test_infer_answers_the_rest_of_a_folder_with_doubtful_files(single: Path, doubtful: Path) -> None:
    done = infer(doubtful, "--bundle", single, *ENGINE, "--image-mb", 25)
    assert done.returncode == 3, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["status"] for record in records] == ["ok", "ok", "error", "error"]
    assert "palette" in records[2]["error"]["message"]
    assert "memory" in records[3]["error"]["message"]
    assert {record["error"]["type"] for record in records[2:]} == {"InputError"}
    caution, failed = done.stderr.splitlines()
    assert "never judged" in caution
    assert "2 of 4 answered" in failed
    here = infer(doubtful, "--bundle", single, *ENGINE, "--no-sandbox")
    answers = [json.loads(line) for line in here.stdout.splitlines()]
    assert [answer["status"] for answer in answers] == ["ok", "ok", "error", "ok"]
    assert [answer["input"] for answer in answers[:2]] == [record["input"] for record in records[:2]]
    assert [answer["probabilities"] for answer in answers[:2]] == [record["probabilities"] for record in records[:2]]


@pytest.fixture
def interrupted(single: Path, scans: list[Path]) -> Iterator["subprocess.Popen[str]"]:
    """A run that waits for its reader, in a group of processes as a terminal makes it."""
    many = [str(path) for path in scans[:4]] * 2000
    command = [*RUN, "-", "--bundle", str(single), *ENGINE, "--batch-size", "2"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n".join(many))
    process.stdin.close()
    assert json.loads(process.stdout.readline())["status"] == "ok"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()  # type: ignore[union-attr]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_infer_interrupted_leaves_neither_processes_nor_their_tracebacks(
    interrupted: "subprocess.Popen[str]",
) -> None:
    workers = psutil.Process(interrupted.pid).children()
    assert workers
    os.killpg(interrupted.pid, signal.SIGINT)
    assert interrupted.stdout is not None
    interrupted.stdout.read()
    assert interrupted.wait(60) == 130
    assert interrupted.stderr is not None
    assert interrupted.stderr.read().splitlines()[-1:] == [
        "Error: interrupted; files that were being written are as they were before"
    ]
    assert not any(worker.is_running() for worker in workers)
