"""Comparing two measurements."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from braintumor.bench.cli import main
from braintumor.bench.compare import changes
from braintumor.errors import InputError


def write(path: Path, **medians: float) -> Path:
    entries = [{"fullname": name, "stats": {"median": median}} for name, median in medians.items()]
    path.write_text(json.dumps({"benchmarks": entries}))
    return path


def test_what_became_slower_has_a_ratio_above_one(tmp_path: Path) -> None:
    found = changes(write(tmp_path / "old", a=1.0, b=2.0, gone=1.0), write(tmp_path / "new", b=1.0, a=3.0))
    assert [(change.name, change.ratio) for change in found] == [("a", 3.0), ("b", 0.5)]


def test_files_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    good, other = write(tmp_path / "good", a=1.0), write(tmp_path / "other", b=1.0)
    (tmp_path / "odd").write_text("[]")
    for bad in (other, tmp_path / "odd", tmp_path / "missing", write(tmp_path / "nought", a=0.0)):
        with pytest.raises(InputError):
            changes(good, bad)


@pytest.mark.parametrize(("allowed", "code"), [("2.9", 3), ("3.1", 0)])
def test_the_command_fails_beyond_the_ratio_that_is_allowed(tmp_path: Path, allowed: str, code: int) -> None:
    old, new = write(tmp_path / "old", a=1.0, b=2.0), write(tmp_path / "new", a=3.0, b=2.0)
    done = CliRunner().invoke(main, ["compare", str(old), str(new), "--max-ratio", allowed])
    assert done.exit_code == code, done.output
    assert "3.000 x" in done.output
    assert done.output.endswith(f"{code // 3} of 2 slower by more than {allowed} x\n")


def test_a_missing_file_is_one_line_and_the_code_of_bad_input(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["compare", str(tmp_path / "none"), str(tmp_path / "none")])
    assert done.exit_code == 3
    assert "no result of pytest --benchmark-json" in done.output
