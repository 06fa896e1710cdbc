"""No command opens a network connection; only `bt-data fetch` may."""

import configparser
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.paths import BIN, ROOT

# Read by every Python that the commands start: tells of itself, and of each attempt to reach another machine.
WATCH = """
import os, sys

log = open(os.environ["BRAINTUMOR_TEST_CONNECTIONS"], "a", buffering=1)
log.write("watching\\n")

def watch(event, arguments):
    resolves = event in {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
    # Two ends of a pipe have no host; an address of the Internet is (host, port, ...).
    connects = event in {"socket.connect", "socket.sendto"} and isinstance(arguments[1], tuple)
    if resolves or connects:
        log.write(f"{event} {arguments[-1]}\\n")

sys.addaudithook(watch)
"""


# By these libraries know a machine that is not a user's, and report nothing.
IN_CI = {"CI", "TF_BUILD", "JENKINS_URL"}


@pytest.fixture
def watched(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """The environment of a user who refused nothing, in which Python tells of connections; and where it does."""
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    log = tmp_path / "connections.log"
    environment = {name: value for name, value in os.environ.items() if name not in IN_CI}
    home = tmp_path / "home"
    home.mkdir()
    environment |= {"HOME": str(home), "LOCALAPPDATA": str(home), "PYTHONPATH": str(tmp_path / "watch")}
    return environment | {"BRAINTUMOR_TEST_CONNECTIONS": str(log)}, log


def without_network() -> list[str]:
    """Runs a command where no other machine can be reached, libraries in C included; if this system lets us."""
    prefix = ["unshare", "--map-root-user", "--net"]
    try:
        able = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        able = False
    return prefix if able else []


def test_the_watch_sees_a_connection(watched: tuple[dict[str, str], Path]) -> None:
    environment, log = watched
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"
    subprocess.run([sys.executable, "-c", code], env=environment, check=False, capture_output=True)
    assert log.read_text().splitlines() == ["watching", "socket.connect ('192.0.2.1', 9)"]


@pytest.mark.parametrize("module", ["onnxruntime", "openvino"])
def test_an_engine_s_library_reports_nothing_when_it_is_imported(
    module: str, watched: tuple[dict[str, str], Path]
) -> None:
    environment, log = watched
    code = (
        "import importlib.util, sys\n"
        "from braintumor.optional import require\n"
        f"require('{module}', extra='x', purpose='testing')\n"
        "assert 'openvino_telemetry' not in sys.modules\n"
        "importlib.util.find_spec('openvino_telemetry')\n"  # raises ValueError of a None that was left behind
    )
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert log.read_text().splitlines() == ["watching"]


def entry_points() -> dict[str, str]:
    """The commands that setup.cfg installs → "module:function"."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = filter(None, config["options.entry_points"]["console_scripts"].split("\n"))
    return {name.strip(): target.strip() for name, target in (line.split("=") for line in lines)}


@pytest.mark.parametrize("target", entry_points().values())
def test_entry_point_opens_no_connection(target: str, watched: tuple[dict[str, str], Path]) -> None:
    environment, log = watched
    module, function = target.split(":")
    command = [sys.executable, "-P", "-c", f"from {module} import {function}; {function}()", "--help"]
    subprocess.run([*without_network(), *command], env=environment, check=True, capture_output=True, timeout=120)
    assert set(log.read_text().splitlines()) == {"watching"}


@pytest.mark.slow
def test_no_command_opens_a_connection(
    watched: tuple[dict[str, str], Path], small_keras: Callable[..., Path], tmp_path: Path
) -> None:
    environment, log = watched
    commands: list[list[str | Path]] = [
        ["bt-export", small_keras(), "--precision", "fp32", "--bundle", tmp_path / "fp32"],
        ["bt-doctor"],
        ["bt-infer", ROOT / "examples" / "scan.png", "--bundle", tmp_path / "fp32"],
        [
            "bt-bench",
            "latency",
            tmp_path / "fp32",
            "--engine",
            "all",
            "--batch",
            "1",
            "--rounds",
            "4",
            "--seconds",
            "1",
        ],
    ]
    for program, *arguments in commands:
        done = subprocess.run(
            [*without_network(), BIN / program, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (program, done.stderr)
    lines = log.read_text().splitlines()
    assert len(lines) >= len(commands)
    assert set(lines) == {"watching"}
