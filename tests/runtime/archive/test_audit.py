"""The chain of an audit log shows every change; the log names no patient, and goes on across runs and cuts."""

import hashlib
import hmac
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from braintumor.errors import IntegrityError, UsageError
from braintumor.runtime.archive.audit import AuditLog, open_audit, pseudonym, read_key
from braintumor.runtime.archive.audit_lines import AnswerLine, RunLine, audit_lines
from braintumor.runtime.archive.chain import Anchor, read_chain
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.prediction import Prediction

AUDIT = [sys.executable, "-P", "-c", "from braintumor.runtime.archive.cli import main; main()"]


@pytest.fixture(scope="module")
def ensemble(single: Path) -> Iterator[Ensemble]:
    with Ensemble.load(single, engine="onnxruntime-cpu") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def predictions(ensemble: Ensemble, scans: Sequence[Path]) -> list[Prediction]:
    return list(ensemble.predict_many([*scans[:5], "Mrs Jones/gone.png"]))


@pytest.fixture(scope="module")
def whole(ensemble: Ensemble, predictions: list[Prediction], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven lines of one run. Not to be changed: copy it."""
    path = tmp_path_factory.mktemp("log") / "audit.jsonl"
    with open_audit(path) as log:
        run(log, ensemble, predictions)
    return path


@pytest.fixture
def log(whole: Path, tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(whole.read_bytes())
    return path


def run(log: AuditLog, ensemble: Ensemble, predictions: Sequence[Prediction]) -> None:
    log.begin(ensemble)
    assert list(log.logged(predictions)) == list(predictions)


def audit(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*AUDIT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_each_line_holds_the_hash_of_the_line_before(log: Path) -> None:
    previous = "0" * 64
    for number, line in enumerate(log.read_bytes().splitlines(), 1):
        record = json.loads(line)
        assert (record["sequence"], record["previous"]) == (number, previous)
        body = line[: line.rindex(b', "checksum"')]
        assert record["checksum"] == hashlib.sha256(body).hexdigest()
        previous = hashlib.sha256(line).hexdigest()
    assert read_chain(log).head == Anchor(7, previous)


def test_lines_say_who_when_and_what(log: Path, ensemble: Ensemble, predictions: list[Prediction]) -> None:
    first, *answers = audit_lines(log)
    assert isinstance(first, RunLine)
    assert first.bundle.sha256 == ensemble.bundle.sha256
    assert first.engine == ensemble.engine_info
    assert first.host
    assert first.time.endswith("Z")
    for line, prediction in zip(answers, predictions, strict=True):
        assert isinstance(line, AnswerLine)
        assert (line.run, line.status, line.label) == (first.run, prediction.status, prediction.label)
        assert line.probabilities == prediction.probabilities
        assert line.input.sha256 == prediction.input.sha256
    assert isinstance(answers[-1], AnswerLine)
    assert answers[-1].error == "InputError"


def test_log_holds_no_path(log: Path, predictions: list[Prediction]) -> None:
    text = log.read_text()
    for prediction in predictions:
        assert Path(prediction.input.path or "").stem not in text
    assert "Jones" not in text


def test_log_with_a_key_holds_paths_as_hmac(
    tmp_path: Path, ensemble: Ensemble, predictions: list[Prediction]
) -> None:
    key_file, path = tmp_path / "audit.key", tmp_path / "audit.jsonl"
    key_file.write_text("0123456789abcdef\n")
    with open_audit(path, read_key(key_file)) as log:
        run(log, ensemble, predictions)
    _, *answers = audit_lines(path)
    for line, prediction in zip(answers, predictions, strict=True):
        assert isinstance(line, AnswerLine)
        expected = hmac.digest(b"0123456789abcdef", (prediction.input.path or "").encode(), "sha256").hex()
        assert line.input.path_hmac == expected == pseudonym(prediction.input.path or "", b"0123456789abcdef")
    assert "Jones" not in path.read_text()


def test_read_key_refuses_a_short_key_and_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("0123456789abcde\n")
    for name in ("short", "none"):
        with pytest.raises(UsageError, match="key"):
            read_key(tmp_path / name)


def changes(lines: list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    for index in range(len(lines)):
        yield f"line {index + 1} changed", [*lines[:index], lines[index].replace(b"Z", b"z"), *lines[index + 1 :]]
        yield f"line {index + 1} twice", [*lines[: index + 1], *lines[index:]]
        if index < len(lines) - 1:
            yield f"line {index + 1} removed", [*lines[:index], *lines[index + 1 :]]
            swapped = [*lines[:index], lines[index + 1], lines[index], *lines[index + 2 :]]
            yield f"line {index + 1} moved", swapped


def test_read_chain_finds_a_line_changed_removed_added_or_moved(log: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    planted = dict(changes(lines))
    assert len(planted) == 26
    for change, changed in planted.items():
        log.write_bytes(b"".join(changed))
        with pytest.raises(IntegrityError, match="line"):
            pytest.fail(f"{change}: {read_chain(log)}")


def with_new_checksum(line: bytes) -> bytes:
    body = line[: line.rindex(b', "checksum"')].replace(b"Z", b"z", 1)
    return body + b', "checksum": "%s"}\n' % hashlib.sha256(body).hexdigest().encode()


def test_read_chain_finds_a_line_that_was_changed_with_its_checksum(log: Path) -> None:
    anchor, lines = read_chain(log).head, log.read_bytes().splitlines(keepends=True)
    for index in range(len(lines) - 1):
        log.write_bytes(b"".join([*lines[:index], with_new_checksum(lines[index]), *lines[index + 1 :]]))
        with pytest.raises(IntegrityError, match=f"line {index + 2}: it does not follow"):
            read_chain(log)
    # Only an anchor shows it of the last line.
    log.write_bytes(b"".join([*lines[:-1], with_new_checksum(lines[-1])]))
    with pytest.raises(IntegrityError, match="written anew"):
        read_chain(log, anchor)


@given(place=st.integers(0, 10_000), mask=st.integers(1, 255))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_read_chain_finds_every_byte(whole: Path, tmp_path: Path, place: int, mask: int) -> None:
    content = bytearray(whole.read_bytes())
    place %= len(content)
    content[place] ^= mask
    path = tmp_path / "audit.jsonl"
    path.write_bytes(content)
    anchor = read_chain(whole).head
    with pytest.raises(IntegrityError):
        read_chain(path, anchor)


def test_read_chain_finds_a_cut_by_an_anchor(log: Path) -> None:
    anchor, lines = read_chain(log).head, log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-2]))
    assert read_chain(log).head.sequence == 5
    with pytest.raises(IntegrityError, match="2 lines were cut off"):
        read_chain(log, anchor)


def test_read_chain_finds_a_log_that_was_written_anew(
    log: Path, ensemble: Ensemble, predictions: list[Prediction]
) -> None:
    anchor = read_chain(log).head
    log.unlink()
    with open_audit(log) as again:
        run(again, ensemble, predictions)
    assert read_chain(log).head.sequence == anchor.sequence
    with pytest.raises(IntegrityError, match="written anew"):
        read_chain(log, anchor)


def test_log_goes_on_after_a_cut_at_any_byte(log: Path, ensemble: Ensemble, predictions: list[Prediction]) -> None:
    content = log.read_bytes()
    for size in range(0, len(content), 173):
        log.write_bytes(content[:size])
        whole = content[:size].count(b"\n")
        with open_audit(log) as again:
            run(again, ensemble, predictions[:1])
        assert read_chain(log).head.sequence == whole + 2
        (line,) = list(audit_lines(log))[whole : whole + 1]
        assert isinstance(line, RunLine)
        assert line.torn_bytes == size - len(b"".join(content.splitlines(keepends=True)[:whole]))


def test_log_that_was_changed_is_not_continued(log: Path) -> None:
    log.write_bytes(log.read_bytes().replace(b'"healthy"', b'"Healthy"', 1))
    before = log.read_bytes()
    with pytest.raises(IntegrityError, match="line"), open_audit(log):
        pass
    assert log.read_bytes() == before


def test_log_is_written_by_one_process(log: Path) -> None:
    with open_audit(log), pytest.raises(UsageError, match="another process"), open_audit(log):
        pass


def test_audit_verifies_anchors_and_shows(log: Path) -> None:
    anchored = audit("anchor", log)
    assert (anchored.returncode, anchored.stdout) == (0, f"{read_chain(log).head}\n")
    head = anchored.stdout.strip()
    verified = audit("verify", log, "--anchor", head)
    assert verified.returncode == 0
    assert "7 lines" in verified.stdout
    shown = audit("show", log, "--last", "2")
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["6", "7"]
    assert len(audit("show", log).stdout.splitlines()) == 7


def test_audit_exits_with_4_for_a_changed_log_and_2_for_a_wrong_call(log: Path, tmp_path: Path) -> None:
    head = audit("anchor", log).stdout.strip()
    whole = log.read_bytes()
    log.write_bytes(whole[:-1])
    unfinished = audit("verify", log)
    assert (unfinished.returncode, "not whole" in unfinished.stderr) == (0, True)
    assert audit("verify", log, "--anchor", head).returncode == 4
    log.write_bytes(whole.replace(b'"run"', b'"ran"', 1))
    for command in ("verify", "anchor", "show"):
        done = audit(command, log)
        assert (done.returncode, done.stdout) == (4, "")
        assert "line 1" in done.stderr
    assert audit("verify", tmp_path / "none").returncode == 2
    assert audit("verify", log, "--anchor", "7").returncode == 2
