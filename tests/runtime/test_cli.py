"""`bt-infer` as a user meets it: real processes, real exit codes, nothing lost."""

import csv
import io
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from braintumor import NOTICE, __version__
from tests.support.bundles import accept_bundle

# -P: the working directory must not stand before what is installed.
RUN = [sys.executable, "-P", "-c", "from braintumor.runtime.cli import main; main()"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX terminals, pipes and signals")


def infer(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [*RUN, *(argument if isinstance(argument, bytes) else str(argument) for argument in arguments)]
    options = {"capture_output": True, "text": True, "encoding": "utf-8", "timeout": 120} | options
    return subprocess.run(command, check=False, **options)  # type: ignore[no-any-return]


def refused(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The line of an error, behind lines of progress; asserts the exit code and that there is no traceback."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    *_, line = done.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


@pytest.fixture(scope="module")
def single(single: Path, scans: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that is accepted on the engine that answers, so that nothing is said about it."""
    folder = tmp_path_factory.mktemp("accepted") / "single"
    shutil.copytree(single, folder)
    engine = json.loads(infer(scans[0], "--bundle", folder).stdout)["engine"]
    return accept_bundle(folder, engine)


@pytest.fixture(scope="module", autouse=True)
def chosen(three: Path, single: Path, scans: list[Path]) -> None:
    """Measures the engines once: the tests are later starts."""
    for bundle in (three, single):
        done = infer(scans[0], "--bundle", bundle)
        assert done.returncode == 0, done.stderr


def test_infer_writes_json_lines_to_a_pipe(three: Path, scans: list[Path]) -> None:
    done = infer(*scans, "--bundle", three)
    assert done.returncode == 0
    (caution,) = done.stderr.splitlines()
    assert "was never judged" in caution
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["input"]["path"] for record in records] == [str(path) for path in scans]
    assert {record["status"] for record in records} == {"ok"}


def test_infer_formats_agree(single: Path, scans: list[Path]) -> None:
    out = {
        form: infer(*scans[:5], "--bundle", single, "--format", form).stdout
        for form in ("json", "jsonl", "csv", "table")
    }
    records = json.loads(out["json"])
    lines = [json.loads(line) for line in out["jsonl"].splitlines()]
    rows = list(csv.DictReader(io.StringIO(out["csv"])))
    assert len(records) == 5
    for record, line, row in zip(records, lines, rows, strict=True):
        assert record["label"] == line["label"] == row["label"]
        assert record["probabilities"] == line["probabilities"]
        assert [float(row[name]) for name in record["probabilities"]] == list(record["probabilities"].values())
    for record, shown in zip(records, out["table"].splitlines()[1:6], strict=True):
        assert record["label"] in shown
        assert "█" in shown
    assert out["table"].rstrip().endswith(NOTICE)
    assert "\x1b" not in out["table"]


def test_infer_writes_ascii_to_an_ascii_terminal(single: Path, scans: list[Path]) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    for images in (scans[:1], scans):
        done = infer(*images, "--bundle", single, "--format", "table", env=environment)
        assert done.returncode == 0
        assert done.stderr == ""
        assert done.stdout.isascii()
        assert "##" in done.stdout


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv", "txt"])
def test_infer_writes_the_output_in_the_format_of_its_name(
    single: Path, scans: list[Path], tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"answers.{suffix}"
    path.write_text("old")
    done = infer(*scans[:2], "--bundle", single, "--output", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = path.read_text()
    if suffix == "csv":
        assert len(list(csv.DictReader(io.StringIO(text)))) == 2
    else:
        assert len(json.loads(text) if suffix == "json" else text.splitlines()) == 2
    assert list(tmp_path.iterdir()) == [path]


def test_infer_exits_with_3_when_some_images_fail(single: Path, scans: list[Path]) -> None:
    done = infer("gone.png", scans[0], "--bundle", single)
    assert done.returncode == 3
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["status"] for record in records] == ["error", "ok"]
    assert done.stderr == f"1 of 2 answered; 1 failed: {records[0]['error']['message']}\n"


def test_infer_takes_folders_globs_and_standard_input(single: Path, scans: list[Path]) -> None:
    folder = scans[0].parent
    listed = "\r\n".join(str(path) for path in scans) + "\r\n\r\n"
    outs = [
        infer(folder, "--bundle", single).stdout,
        infer(folder / "*.png", "--bundle", single).stdout,
        infer("-", "--bundle", single, input=listed).stdout,
    ]
    for out in outs:
        assert [json.loads(line)["input"]["path"] for line in out.splitlines()] == [str(path) for path in scans]


def test_infer_takes_unusual_file_names(single: Path, scans: list[Path], tmp_path: Path) -> None:
    content = scans[0].read_bytes()
    for name in ("-dash.png", "a b.png", "Käse 脑.png"):
        (tmp_path / name).write_bytes(content)
    done = infer("--bundle", single, "--", "-dash.png", "a b.png", "Käse 脑.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    paths = [json.loads(line)["input"]["path"] for line in done.stdout.splitlines()]
    assert paths == ["-dash.png", "a b.png", "Käse 脑.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text")
@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "table"])
def test_infer_takes_file_names_that_are_not_text(single: Path, scans: list[Path], tmp_path: Path, form: str) -> None:
    name = b"caf\xe9.png"
    (tmp_path / os.fsdecode(name)).write_bytes(scans[0].read_bytes())
    for arguments, stdin in (((name,), None), (("-",), name + b"\n")):
        done = infer(
            *arguments, "--bundle", single, "--format", form, cwd=tmp_path, input=stdin, text=False, encoding=None
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"\\udce9" in done.stdout  # type: ignore[operator]


def test_infer_exits_with_2_for_usage_errors(single: Path, tmp_path: Path, scans: list[Path]) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no image" in refused(infer(tmp_path / "empty", "--bundle", single), 2)
    assert "no bundle" in refused(infer(scans[0], "--no-starter", cwd=tmp_path), 2)
    assert "is a folder" in refused(infer(scans[0], "--bundle", single, "--output", tmp_path), 2)
    missing = refused(infer(scans[0], "--bundle", single, "--output", tmp_path / "no" / "x.json"), 2)
    assert "cannot be written (No such file or directory)" in missing
    for arguments in ((), (scans[0], "--engine", "nope"), (scans[0], "--batch-size", "0"), (scans[0], "--nope")):
        done = infer(*arguments, "--bundle", single)
        assert (done.returncode, done.stdout) == (2, "")
        assert "Error" in done.stderr


def test_infer_refuses_an_output_over_an_image_or_in_the_bundle(
    copied: Path, scans: list[Path], tmp_path: Path
) -> None:
    scan, other = tmp_path / "scan.png", tmp_path / "other.png"
    for path in (scan, other):
        path.write_bytes(scans[0].read_bytes())
    listed = tmp_path / "list.txt"
    listed.write_text("no image")
    for output, reason in (
        (scan, "is a PNG image, which would be lost"),
        (other, "is a PNG image, which would be lost"),
        (listed, "is one of the inputs, which would be lost"),
        (copied / "answers.csv", "lies in the bundle"),
        (tmp_path / "answers.xlsx", "no format is called 'xlsx'; allowed are table, json, jsonl, csv"),
    ):
        done = infer(scan, listed, "--bundle", copied, "--output", output)
        assert reason in refused(done, 2)
    assert scan.read_bytes() == other.read_bytes() == scans[0].read_bytes()
    assert listed.read_text() == "no image"
    assert infer(scan, "--bundle", copied).returncode == 0


def test_infer_exits_with_2_without_the_bundle(copied: Path, scans: list[Path], tmp_path: Path) -> None:
    assert "bt-export" in refused(infer(scans[0], "--bundle", tmp_path / "nowhere"), 2)
    message = refused(infer(scans[0], "--bundle", copied.parent), 2)
    assert f"--bundle {copied.parent / copied.name}" in message


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell with pipes")
def test_infer_ends_quietly_when_the_pipe_is_closed(single: Path, scans: list[Path]) -> None:
    images = scans[:2] * 2000
    command = [*RUN, "-", "--bundle", str(single), "--batch-size", "1"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin
        assert running.stdout
        assert running.stderr
        running.stdin.write("\n".join(map(str, images)))
        running.stdin.close()
        assert running.stdout.readline().startswith("{")
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode == 141


def test_infer_exits_with_4_for_a_damaged_bundle(copied: Path, scans: list[Path]) -> None:
    (copied / "a" / "model.onnx").write_bytes(b"damage")
    assert "bytes; its bundle.json says" in refused(infer(scans[0], "--bundle", copied), 4)


@pytest.mark.usefixtures("own_cache_of_the_test")
def test_infer_exits_with_5_for_a_missing_engine(single: Path, scans: list[Path]) -> None:
    without = "import sys; sys.modules['onnxruntime'] = sys.modules['openvino'] = None"
    code = f"{without}; from braintumor.runtime.cli import main; main()"
    command = [sys.executable, "-c", code, str(scans[0]), "--bundle", str(single)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "pip install 'braintumor[cpu]'" in refused(done, 5)


def test_infer_shows_a_traceback_with_debug(tmp_path: Path) -> None:
    done = infer("x.png", "--bundle", tmp_path, "--debug")
    assert done.returncode == 4
    assert "Traceback (most recent call last)" in done.stderr
    assert "IntegrityError" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "table"])
def test_infer_exits_with_2_when_standard_output_is_full(single: Path, scans: list[Path], form: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = infer(
            scans[0],
            *("--bundle", single, "--format", form),
            capture_output=False,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert done.returncode == 2
    assert re.fullmatch(r"Error: the output cannot be written \(No space left on device\)[^\n]*\n", done.stderr)


@posix
def test_infer_writes_into_a_named_pipe(single: Path, scans: list[Path], tmp_path: Path) -> None:
    # As /dev/null and /dev/stdout, which a test that fails must not replace.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = "import pathlib, sys; print(pathlib.Path(sys.argv[1]).read_text())"
    command = [sys.executable, "-c", read, str(pipe)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        done = infer(scans[0], "--bundle", single, "--output", pipe)
        if not pipe.is_fifo():
            reader.kill()
        assert (done.returncode, done.stderr, pipe.is_fifo()) == (0, "", True)
        assert json.loads(reader.communicate(timeout=60)[0])["status"] == "ok"


@posix
def test_infer_takes_a_closed_named_pipe_for_no_error(single: Path, scans: list[Path]) -> None:
    listed = "\n".join(str(path) for path in scans * 100)
    with subprocess.Popen(
        [*RUN, "-", "--bundle", str(single), "--batch-size", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(listed)
        process.stdin.close()
        assert json.loads(process.stdout.readline())["status"] == "ok"
        process.stdout.close()
        assert process.stderr.read() == ""


@posix
@pytest.mark.parametrize(
    ("number", "code", "message"),
    [
        (signal.SIGINT, 130, "Error: interrupted; files that were being written are as they were before\n"),
        (signal.SIGTERM, 143, "Error: terminated; files that were being written are as they were before\n"),
    ],
)
def test_infer_leaves_the_old_output_when_it_is_ended(
    number: signal.Signals, code: int, message: str, single: Path, scans: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "answers.jsonl"
    out.write_text("old")
    listed = "\n".join(str(path) for path in scans * 2000)
    with subprocess.Popen(
        [*RUN, "-", "--bundle", str(single), "--output", str(out)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(listed)
        process.stdin.close()
        deadline = time.monotonic() + 60
        while not any(part.stat().st_size for part in tmp_path.glob(".*.part")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        error = process.stderr.read()
    assert (process.returncode, error) == (code, message)
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def at_terminal(*arguments: object, stream: str) -> tuple[str, str]:
    """What a command shows on a terminal at that stream, and what it writes to the other one."""
    import pty

    outer, inner = pty.openpty()
    other = "stderr" if stream == "stdout" else "stdout"
    handles: dict[str, Any] = {stream: inner, other: subprocess.PIPE}
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"}
    with subprocess.Popen([*RUN, *map(str, arguments)], env=environment, **handles) as process:
        os.close(inner)
        shown = b""
        while True:
            select.select([outer], [], [], 60)
            try:
                part = os.read(outer, 65536)
            except OSError:  # the last writer has closed the terminal
                break
            if not part:
                break
            shown += part
        rest = process.communicate(timeout=60)[0 if other == "stdout" else 1]
    os.close(outer)
    assert process.returncode == 0
    return shown.decode(), rest.decode()


@posix
def test_infer_writes_a_table_to_a_terminal(single: Path, scans: list[Path]) -> None:
    shown, errors = at_terminal(*scans, "--bundle", single, stream="stdout")
    assert shown.splitlines()[0].split()[:3] == ["image", "label", "vote"]
    assert NOTICE in shown
    assert errors == ""


@posix
def test_infer_shows_progress_only_on_a_terminals_standard_error(single: Path, scans: list[Path]) -> None:
    shown, out = at_terminal(*scans, "--bundle", single, stream="stderr")
    assert "12/12" in shown
    assert NOTICE in shown
    assert len([json.loads(line) for line in out.splitlines()]) == 12
    few, _ = at_terminal(*scans[:2], "--bundle", single, stream="stderr")
    assert few.splitlines() == [NOTICE]


def test_infer_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys\nfrom braintumor.runtime.cli import infer\n"
        "try:\n    infer([sys.argv[1]])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'numpy', 'PIL', 'onnxruntime', 'tensorflow', 'rich'} & sys.modules.keys()\nassert not heavy, heavy"
    )
    for option, words in (("--help", ["Usage", "PATH", "--bundle", NOTICE]), ("--version", [__version__])):
        done = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        for word in words:
            assert word in " ".join(done.stdout.split())


def test_infer_imports_no_training_library(single: Path, scans: list[Path]) -> None:
    code = (
        "import sys, braintumor\nwith braintumor.Ensemble.load(sys.argv[1]) as ensemble:\n"
        "    assert ensemble.predict(sys.argv[2]).status == 'ok'\n"
        "found = {'tensorflow', 'keras', 'onnx', 'tf2onnx', 'torch'} & sys.modules.keys()\nassert not found, found"
    )
    command = [sys.executable, "-c", code, str(single), str(scans[0])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_infer_is_the_installed_command() -> None:
    script = Path(sys.executable).with_name("bt-infer.exe" if sys.platform == "win32" else "bt-infer")
    done = subprocess.run([str(script), "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, f"braintumor, version {__version__}")
