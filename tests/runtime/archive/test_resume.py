"""`bt-infer --resume`, `--watch` and `--audit` as a user meets them: runs that end, are ended, and are killed."""

import csv
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from braintumor.runtime.archive.audit_lines import AnswerLine, audit_lines
from braintumor.runtime.archive.chain import read_chain
from braintumor.runtime.cli import infer as cli
from tests.support.images import write_phantoms

RUN = [sys.executable, "-P", "-c", "from braintumor.runtime.cli import main; main()"]
ENGINE = ("--engine", "onnxruntime-cpu")
# A hang, not a slow machine, reaches it.
LIMIT_S = 120
# Batches of other images: the last digits of float32 may differ.
CLOSE = 1e-5
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and limits")


def command(*arguments: object) -> list[str]:
    return [*RUN, *map(str, arguments), *ENGINE]


def infer(*arguments: object) -> Result:
    """A run in this process."""
    return CliRunner().invoke(cli, [*map(str, arguments), *ENGINE])


def spawn(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """A run in a process of its own."""
    settings = {"capture_output": True, "text": True, "timeout": LIMIT_S} | options
    return subprocess.run(command(*arguments), check=False, **settings)  # type: ignore[no-any-return]


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def paths(path: Path) -> list[str]:
    return [record["input"]["path"] for record in records(path)]


def summary(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.with_suffix(".run.json").read_bytes())
    return document


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def assert_same_answers(path: Path, plain: Path) -> None:
    """Every image once, with the label and, but for rounding, the probabilities of an undisturbed run."""
    expected = {record["input"]["path"]: record for record in records(plain)}
    assert Counter(paths(path)) == Counter(expected.keys())
    for record in records(path):
        other = expected[record["input"]["path"]]
        assert (record["status"], record["label"]) == (other["status"], other["label"])
        assert record["input"] == other["input"]
        assert record["probabilities"] == pytest.approx(other["probabilities"], abs=CLOSE)


@pytest.fixture
def folder(tmp_path: Path, scans: Sequence[Path]) -> Path:
    """Twelve scans in a folder of their own."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for scan in scans:
        shutil.copy(scan, folder)
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def test_resume_answers_what_has_no_record(single: Path, folder: Path, results: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.jsonl"
    assert infer(folder, "--bundle", single, "--output", plain).exit_code == 0
    half = sorted(folder.iterdir())[:6]
    first = infer(*half, "--bundle", single, "--output", results, "--resume")
    assert (first.exit_code, first.stdout) == (0, "")
    written = results.read_bytes()
    second = infer(folder, "--bundle", single, "--output", results, "--resume")
    assert second.exit_code == 0
    assert results.read_bytes().startswith(written)
    assert paths(results) == [str(path) for path in sorted(folder.iterdir())]
    assert_same_answers(results, plain)
    run = summary(results)
    assert (run["status"], run["run"]["answered"], run["run"]["known"], run["file"]["answered"]) == (
        "finished", 6, 6, 12,
    )  # fmt: skip
    third = infer(folder, "--bundle", single, "--output", results, "--resume")
    assert "0 answered" in third.stderr
    assert len(paths(results)) == 12


def test_resume_takes_csv(single: Path, folder: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.csv"
    for count in (5, 12):
        images = sorted(folder.iterdir())[:count]
        assert infer(*images, "--bundle", single, "--output", results, "--resume").exit_code == 0
    with results.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["path"] for row in rows] == [str(path) for path in sorted(folder.iterdir())]
    assert {row["status"] for row in rows} == {"ok"}


def test_resume_follows_moved_files_and_answers_copies(single: Path, folder: Path, results: Path) -> None:
    arguments = (folder, "--bundle", single, "--output", results, "--resume")
    assert infer(*arguments).exit_code == 0
    first, second, *_ = sorted(folder.iterdir())
    first.rename(folder / "moved.png")
    shutil.copy(second, folder / "copy.png")
    assert infer(*arguments).exit_code == 0
    assert len(paths(results)) == 13
    assert paths(results)[-1] == str(folder / "copy.png")
    moved = folder.rename(folder.with_name("elsewhere"))
    assert infer(moved, *arguments[1:]).exit_code == 0
    assert len(paths(results)) == 13


def test_resume_tries_a_failed_image_again_when_it_changes(single: Path, folder: Path, results: Path) -> None:
    broken, whole = sorted(folder.iterdir())[:2]
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    arguments = (broken, whole, folder / "gone.png", "--bundle", single, "--output", results, "--resume")
    for _ in range(2):
        # As failed as before, whether the record is new or old.
        assert infer(*arguments).exit_code == 3
        assert [record["status"] for record in records(results)] == ["error", "ok", "error"]
    run = summary(results)
    assert (run["run"]["known"], run["run"]["known_failed"], run["file"]["failed"]) == (3, 2, 2)
    broken.write_bytes(content)
    (folder / "gone.png").write_bytes(whole.read_bytes())
    assert infer(*arguments).exit_code == 0
    assert [record["status"] for record in records(results)] == ["error", "ok", "error", "ok", "ok"]


def test_resume_uses_the_engine_of_the_file(single: Path, folder: Path, results: Path) -> None:
    assert infer(folder, "--bundle", single, "--output", results, "--resume").exit_code == 0
    done = subprocess.run(
        [*RUN, str(folder), "--bundle", str(single), "--output", str(results), "--resume", "--engine", "auto"],
        capture_output=True, text=True, check=False, timeout=LIMIT_S,
    )  # fmt: skip
    assert (done.returncode, "testing" in done.stderr) == (0, False)
    assert len(paths(results)) == 12


def test_resume_refuses_another_bundle_and_policy(single: Path, half: Path, folder: Path, results: Path) -> None:
    assert infer(folder, "--bundle", single, "--output", results, "--resume").exit_code == 0
    written = results.read_bytes()
    for arguments in (("--bundle", half), ("--bundle", single, "--policy", "early-exit")):
        done = infer(folder, *arguments, "--output", results, "--resume")
        assert done.exit_code == 2
        *_, line = done.stderr.splitlines()
        assert line.startswith(f"Error: {results} is of ")
        assert "--output" in line
    assert results.read_bytes() == written


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--resume",), "--output"),
        (("--watch", "--output", "x.jsonl"), "--resume"),
        (("--resume", "--output", "x.json"), ".jsonl"),
        (("--resume", "--output", "x.parquet"), "parquet"),
        (("--pseudonymise", "key"), "--audit"),
        (("--audit", "x.jsonl", "--output", "x.jsonl", "--resume"), "one file"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    single: Path,
    scans: Sequence[Path],
    tmp_path: Path,
    options: tuple[str, ...],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = infer(scans[0], "--bundle", single, *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr.splitlines()[-1]
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


@posix
def test_resume_refuses_a_second_process(single: Path, folder: Path, results: Path) -> None:
    arguments = (folder, "--bundle", single, "--output", results, "--resume")
    with subprocess.Popen(command(*arguments, "--watch"), stderr=subprocess.PIPE, text=True) as first:
        wait_until(lambda: results.exists() and len(paths(results)) == 12, first)
        second = infer(*arguments)
        assert second.exit_code == 2
        assert "another process" in second.stderr
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=LIMIT_S)
    assert len(paths(results)) == 12


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_answers_what_arrives_and_ends_with_everything_written(
    single: Path, scans: Sequence[Path], tmp_path: Path, results: Path, number: signal.Signals
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    arguments = (inbox, "--bundle", single, "--output", results, "--resume", "--watch", "--audit", tmp_path / "audit")
    with subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True) as process:
        wait_until(results.exists, process)
        for count, scan in enumerate(scans[:2], 1):
            shutil.copy(scan, inbox)
            wait_until(lambda: len(paths(results)) == count, process)  # noqa: B023 - called in this turn
        process.send_signal(number)
        _, shown = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, shown
    assert "Traceback" not in shown
    assert paths(results) == [str(inbox / scan.name) for scan in scans[:2]]
    run = summary(results)
    assert (run["status"], run["run"]["answered"]) == ("finished", 2)
    assert read_chain(tmp_path / "audit").head.sequence == 3


@posix
def test_resume_says_how_far_it_came_when_it_is_interrupted(single: Path, folder: Path, results: Path) -> None:
    images = [*sorted(folder.iterdir()), *(folder / f"gone{number}.png" for number in range(100))]
    arguments = (*images, "--bundle", single, "--output", results, "--resume", "--batch-size", 1, "--threads", 1)
    with subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: results.exists() and results.stat().st_size > 0, process)
        process.send_signal(signal.SIGINT)
        _, shown = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert f"{len(paths(results))} records" in shown.splitlines()[-1]
    assert summary(results)["status"] == "interrupted"


def test_audit_is_written_without_resume_and_goes_on(single: Path, scans: Sequence[Path], tmp_path: Path) -> None:
    log, key = tmp_path / "audit.jsonl", tmp_path / "key"
    key.write_text("0" * 32)
    for _ in range(2):
        done = infer(*scans[:2], "--bundle", single, "--audit", log, "--pseudonymise", key)
        assert done.exit_code == 0
        assert ["never judged" in line for line in done.stderr.splitlines()] == [True]
        assert len(done.stdout.splitlines()) == 2
    assert read_chain(log).head.sequence == 6
    assert scans[0].name not in log.read_text()


def test_resume_goes_on_after_a_full_disk(single: Path, folder: Path, tiny_disk: Path, tmp_path: Path) -> None:
    plain, results = tmp_path / "plain.jsonl", tiny_disk / "results.jsonl"
    assert infer(folder, "--bundle", single, "--output", plain).exit_code == 0
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes(52 << 10))
    arguments = (folder, "--bundle", single, "--output", results, "--resume")
    full = infer(*arguments)
    assert full.exit_code == 2
    assert "No space left on device" in full.stderr.splitlines()[-1]
    assert "Traceback" not in full.stderr
    left = len(records(results))
    assert 0 < left < 12
    ballast.unlink()
    assert infer(*arguments).exit_code == 0
    assert summary(results)["run"]["known"] == left
    assert_same_answers(results, plain)


@posix
def test_resume_goes_on_after_a_file_size_limit(single: Path, folder: Path, results: Path, tmp_path: Path) -> None:
    import resource

    plain = tmp_path / "plain.jsonl"
    assert infer(folder, "--bundle", single, "--output", plain).exit_code == 0
    arguments = (folder, "--bundle", single, "--output", results, "--resume")
    size = plain.stat().st_size // 2
    cut = spawn(*arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    assert cut.returncode == 2
    assert "File too large" in cut.stderr.splitlines()[-1]
    assert 0 < len(records(results)) < 12
    assert infer(*arguments).exit_code == 0
    assert_same_answers(results, plain)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    def make(images: int) -> Path:
        folder = tmp_path_factory.mktemp("archive")
        write_phantoms(folder, images, 96, 80, seed=11)
        return folder

    return make


def moments(rng: random.Random, images: int, kills: int) -> Iterator[tuple[int | None, float]]:
    """When to kill each run: after so many of its records, or None for its start, and so many seconds later."""
    for _ in range(kills):
        if rng.random() < 1 / 5:
            yield None, rng.uniform(0.0, 0.5)
        else:
            yield rng.randrange(4 * images // (3 * kills)), rng.uniform(0.0, 0.002)


def cut_power(rng: random.Random, path: Path) -> None:
    """Leave what a power cut may leave: a last line that is not whole, or zeros."""
    if path.exists() and rng.random() < 1 / 3:
        content = path.read_bytes()
        cut = min(len(content), rng.randrange(1, 1500))
        path.write_bytes(content[:-cut] + rng.choice((b"", bytes(cut))))


@posix
@pytest.mark.parametrize(("images", "kills"), [(120, 4), pytest.param(500, 50, marks=pytest.mark.slow)])
def test_resume_loses_and_repeats_nothing_when_it_is_killed(
    single: Path, archive: Callable[[int], Path], tmp_path: Path, images: int, kills: int
) -> None:
    folder, plain = archive(images), tmp_path / "plain.jsonl"
    assert infer(folder, "--bundle", single, "--output", plain).exit_code == 0
    results, log = tmp_path / "results.jsonl", tmp_path / "audit.jsonl"
    arguments = (folder, "--bundle", single, "--output", results, "--resume", "--audit", log)
    progress, rng = [], random.Random(kills)  # noqa: S311 - moments, no secret
    for count, later_s in moments(rng, images, kills):
        size = (results.stat().st_size if results.exists() else 0) + plain.stat().st_size // images * (count or 0)
        with subprocess.Popen(
            command(*arguments, "--batch-size", 2, "--threads", 1), stderr=subprocess.PIPE, text=True
        ) as process:
            if count is not None:
                wait_until(lambda: results.exists() and results.stat().st_size >= size, process)  # noqa: B023
            time.sleep(later_s)
            process.kill()
            process.communicate()
        assert process.returncode == -signal.SIGKILL
        for path in (results, log):
            cut_power(rng, path)
        progress.append(results.read_bytes().partition(b"\0")[0].count(b"\n") if results.exists() else 0)
    assert progress[-1] < images
    last = infer(*arguments)
    assert last.exit_code == 0, last.stderr
    assert len(records(results)) == images
    assert_same_answers(results, plain)
    assert summary(results)["run"]["known"] == progress[-1]
    print(f"{kills} kills left {progress} records; {images} at the end")
    read_chain(log)


def test_audit_has_each_answer_before_its_record(single: Path, folder: Path, results: Path, tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    assert infer(folder, "--bundle", single, "--output", results, "--resume", "--audit", log).exit_code == 0
    lines = results.read_bytes().splitlines(keepends=True)
    results.write_bytes(b"".join(lines[:-1]) + lines[-1][:100])
    assert infer(folder, "--bundle", single, "--output", results, "--resume", "--audit", log).exit_code == 0
    answers = [line.input.sha256 for line in audit_lines(log) if isinstance(line, AnswerLine)]
    hashes = [record["input"]["sha256"] for record in records(results)]
    # The record that was lost was answered, and is in the log, twice.
    assert answers == [*hashes, hashes[-1]]
