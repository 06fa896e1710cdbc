"""The quickstart shows what the commands print."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import BIN, ROOT

# What differs from machine to machine and from run to run.
VOLATILE = (
    (re.compile(r"[0-9a-f]{12}\b"), "<sha256>"),
    (re.compile(r"\d+\.\d ms"), "<time>"),
    (re.compile(r"onnxruntime \d+(\.\d+)+"), "onnxruntime <version>"),
    (re.compile(r"\d\.\de-\d\d"), "<difference>"),
)


def stable(text: str) -> list[str]:
    for pattern, name in VOLATILE:
        text = pattern.sub(name, text)
    return [line.rstrip() for line in text.strip().splitlines()]


@pytest.mark.slow
def test_the_demo_prints_what_the_quickstart_shows(tmp_path: Path) -> None:
    quickstart = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- demo -->\n```console\n(.*?)```", quickstart, re.DOTALL)
    assert shown
    commands = [line[2:] for line in shown[1].splitlines() if line.startswith("$ ")]
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    printed = ""
    for command in commands:
        program, *arguments = shlex.split(command)
        done = subprocess.run(
            [BIN / program, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONUTF8": "1"},
            stdout=subprocess.PIPE,
            # What a table says about its bundle is repeated there, where the table does not go to a terminal.
            stderr=subprocess.STDOUT if program == "bt-export" else subprocess.DEVNULL,
            text=True,
            check=True,
        )
        printed += f"$ {command}\n{done.stdout}"
    assert stable(printed.replace(str(ROOT), "")) == stable(shown[1])


def test_make_demo_runs_the_commands_of_the_quickstart() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    quickstart = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    demo = re.search(r"^demo:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert demo
    for line in demo[1].strip().splitlines():
        assert f"$ {line.strip().removeprefix('$(BIN)/')}" in quickstart


@pytest.mark.slow
def test_the_examples_run(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    for example in ("01_export.py", "02_infer.py", "03_bench.py"):
        done = subprocess.run(
            [sys.executable, ROOT / "examples" / example, bundle],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip()


@pytest.mark.slow
def test_the_inference_example_needs_no_argument(tmp_path: Path, shipped_model: Path) -> None:
    """It takes the newest bundle of the working directory, or else what comes with the package."""
    export = [BIN / "bt-export", shipped_model, "--precision", "fp32"]
    subprocess.run(export, cwd=tmp_path, check=True)
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "02_infer.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("healthy, ")
