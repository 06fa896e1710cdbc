"""`bt-export` in this process, in an empty working directory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from braintumor.export.cli import export

Keras = Callable[..., Path]


@pytest.fixture(autouse=True)
def fast_keras(keras_in_process: None) -> None:
    """Keras answers in this process."""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in an empty working directory."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(export, [str(argument) for argument in arguments])


def refused(code: int, *arguments: Any) -> str:
    """The one line of an error with that exit code."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("Error: ")
    assert "Traceback" not in result.output
    return line
