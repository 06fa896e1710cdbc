"""`ResultFile`: a run that is cut short leaves its measurements."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from braintumor.bench.accuracy import evaluate as accuracy
from braintumor.bench.cli import main
from braintumor.bench.report.write import FILES
from braintumor.bench.result_file import ResultFile
from braintumor.errors import OutputError

ENGINE = "onnxruntime-cpu"
COMMAND = str(Path(sys.executable).with_name("bt-bench"))

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals that only POSIX has")


def cut_short(arguments: tuple[object, ...], when: Callable[[], bool], sent: signal.Signals) -> tuple[int, str]:
    """Exit code and standard error of `bt-bench`, which gets a signal when something has happened."""
    process = subprocess.Popen(
        [COMMAND, *map(str, arguments)],
        env=os.environ | {"PYTHONFAULTHANDLER": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not when():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(sent)
    _, complaint = process.communicate(timeout=60)
    return process.returncode, complaint


@dataclass(frozen=True)
class Part:
    unfinished: str | None


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return done.exit_code, done.output


def long(bundle: Path, data: Path) -> tuple[object, ...]:
    """Two batch sizes, of which the second is never stable."""
    window = ("--rounds", 4, "--seconds", 60, "--tolerance", 1e-9)
    return ("latency", bundle, "--engine", ENGINE, "--data", data, "--batch", "1,2", *window)


@pytest.fixture(scope="module")
def cut(small_bundle: Path, phantom_classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A latency file of a run that was interrupted in its second batch size."""
    file = tmp_path_factory.mktemp("cut") / "latency.json"
    arguments = ("--seconds", 2, "--rounds", 4, "--tolerance", 1e-9, "--json", file)
    code, complaint = cut_short((*long(small_bundle, phantom_classes), *arguments), file.exists, signal.SIGINT)
    assert code == 130
    assert complaint.splitlines()[-1] == f"Error: interrupted; {file} holds what was measured until then"
    assert "Traceback" not in complaint
    return file


def test_latency_command_writes_after_every_batch_size(cut: Path) -> None:
    document = json.loads(cut.read_bytes())
    assert document["unfinished"] == "before batch 2"
    (runner,) = document["contenders"]
    assert [times["batch"] for times in runner["batches"]] == [1]
    assert len(runner["batches"][0]["samples_ms"]) >= 4
    assert (runner["decisions"], document["pareto"]) == (None, [])
    assert document["inference_s"] > 0


def test_report_command_shows_unfinished_latency(cut: Path, tmp_path: Path) -> None:
    code, output = run("report", "--latency", cut, "--out", tmp_path)
    assert code == 0, output
    assert "Cut short before batch 2" in (tmp_path / "report.html").read_text()
    assert cut.exists()


def test_latency_command_killed_leaves_whole_file(small_bundle: Path, phantom_classes: Path, tmp_path: Path) -> None:
    file = tmp_path / "latency.json"
    arguments = ("--seconds", 1, "--json", file)
    cut_short((*long(small_bundle, phantom_classes), *arguments), file.exists, signal.SIGKILL)
    assert json.loads(file.read_bytes())["unfinished"] == "before batch 2"


def test_report_command_continues_from_written_accuracy(
    small_bundle: Path, phantom_classes: Path, tmp_path: Path
) -> None:
    report = ("report", small_bundle, "--data", phantom_classes, "--engine", ENGINE, "--robustness", 2)
    options = ("--reference", "none", "--batch", "1,2", "--seconds", 2, "--out", tmp_path)
    accuracy_file, latency_file = tmp_path / "accuracy.json", tmp_path / "latency.json"
    code, complaint = cut_short((*report, *options), latency_file.exists, signal.SIGINT)
    assert code == 130, complaint
    assert f"go on with: bt-bench report {small_bundle}" in complaint
    assert set(tmp_path.iterdir()) == {accuracy_file, latency_file}
    assert json.loads(latency_file.read_bytes())["unfinished"] == "before batch 2"
    again = shlex.split(complaint.partition("go on with: bt-bench ")[2])
    code, output = run(*again)
    assert code in {0, 3}, output
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, accuracy_file.name}
    document = json.loads((tmp_path / "report.json").read_bytes())
    assert document["accuracy"] == json.loads(accuracy_file.read_bytes())
    assert document["latency"]["images"]["decided"] == 12
    assert list(document["seconds"]) == ["latency"]


def test_accuracy_command_interrupted_keeps_first_bundle(
    small_bundle: Path, phantom_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = accuracy.stability, []

    def second_is_interrupted(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(accuracy, "stability", second_is_interrupted)
    file = tmp_path / "accuracy.json"
    options = ("--engine", ENGINE, "--reference", "none", "--robustness", 0, "--no-record", "--json", file)
    code, output = run("accuracy", small_bundle, small_bundle, "--data", phantom_classes, *options)
    assert code == 130, output
    assert f"{file} holds what was measured until then" in output
    assert "beside" not in output
    document = json.loads(file.read_bytes())
    assert (len(document["bundles"]), document["unfinished"], document["accepted"]) == (1, "before small", False)


def test_commands_refuse_unwritable_file_before_measuring(small_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for command in ("latency", "accuracy"):
        code, output = run(command, small_bundle, "--json", tmp_path / "file" / "x.json", "--data", tmp_path / "none")
        assert (code, "cannot be written" in output) == (2, True), output


def test_result_file_writes_finished_result_only_to_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    file = ResultFile(pipe)
    file.write(Part("before batch 2"))
    reader = subprocess.Popen(["/bin/cat", str(pipe)], stdout=subprocess.PIPE)
    file.write(Part(None))
    assert json.loads(reader.communicate(timeout=10)[0]) == {"unfinished": None}


def test_result_file_leaves_earlier_file_until_first_result(tmp_path: Path) -> None:
    earlier = tmp_path / "x.json"
    earlier.write_text("{}")
    ResultFile(earlier)
    assert earlier.read_text() == "{}"
    with pytest.raises(OutputError, match="cannot be written"):
        ResultFile(tmp_path / "missing" / "x.json")
