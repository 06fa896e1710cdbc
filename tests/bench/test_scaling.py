"""Time and memory against the number of images."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from braintumor.bench.metrics.environment import environment
from braintumor.bench.perf.scaling import main, write_images
from braintumor.bench.perf.scaling_result import Point, ScalingResult, line
from braintumor.errors import UsageError
from braintumor.runtime.bundle.checksum import with_checksum


def scaling(*points: Point) -> ScalingResult:
    result = ScalingResult(
        environment=environment(), bundle="fp32", sha256="0" * 64, engine="auto", source="phantoms"
    )
    for point in points:
        result = result.with_point(point)
    return result


def test_with_point_fits_linear_time() -> None:
    result = scaling(*(Point.of(count, 2, 3 + count / 20, 500.0, "e") for count in (10_000, 100, 1_000)))
    fitted = result.lines["2"]
    assert (fitted.start_s, fitted.images_per_s) == pytest.approx((3, 20))
    assert fitted.largest_departure < 1e-9
    assert fitted.memory_ratio == 1.0
    assert [point.images for point in result.points] == [100, 1_000, 10_000]


def test_with_point_shows_departure_of_superlinear_time() -> None:
    result = scaling(*(Point.of(count, 1, 3 + count**1.3 / 20, 5.0 * count, "e") for count in (100, 1_000, 10_000)))
    assert result.lines["1"].largest_departure > 0.1
    assert result.lines["1"].memory_ratio == 100.0


def test_line_refuses_single_point() -> None:
    result = scaling(Point.of(100, 1, 5.0, 500.0, "e"))
    assert result.lines == {}
    with pytest.raises(UsageError, match="do not make a line"):
        line(result.points)


def test_write_images_links_files(tmp_path: Path) -> None:
    write_images(tmp_path / "many", 250, None)
    files = sorted((tmp_path / "many").iterdir())
    assert len(files) == 250
    assert len({path.stat().st_ino for path in files}) == 100


@pytest.fixture
def run(small_bundle: Path) -> Callable[..., tuple[int, str]]:
    def invoke(*arguments: str, bundle: Path = small_bundle) -> tuple[int, str]:
        done = CliRunner().invoke(main, [str(bundle), "--engine", "onnxruntime-cpu", *arguments])
        return done.exit_code, done.output

    return invoke


def test_scaling_script_continues_and_draws(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    output, chart = tmp_path / "scaling.json", tmp_path / "scaling.svg"
    code, text = run("--counts", "10", "--threads", "1", "--json", str(output))
    assert code == 0, text
    first = json.loads(output.read_bytes())["points"]
    code, text = run("--counts", "10,200", "--threads", "1", "--json", str(output), "--chart", str(chart))
    assert code == 0, text
    document = json.loads(output.read_bytes())
    assert document["schema"] == "braintumor.scaling/1"
    # The point that was there was not measured again.
    assert [document["points"][0]] == first
    assert [point["images"] for point in document["points"]] == [10, 200]
    assert {point["ran_on"] for point in document["points"]} == {"onnxruntime-cpu"}
    assert document["lines"]["1"]["memory_ratio"] < 1.5
    assert "images/s; no point departs" in text
    assert ET.parse(chart).getroot().tag.endswith("svg")  # noqa: S314 - our own file


@pytest.mark.skipif(sys.platform == "win32", reason="a signal that only POSIX has")
def test_scaling_script_interrupted_keeps_points(small_bundle: Path, tmp_path: Path) -> None:
    output, work = tmp_path / "scaling.json", tmp_path / "work"
    work.mkdir()
    options = ("--engine", "onnxruntime-cpu", "--counts", "5,5000", "--threads", "1", "--json", str(output))
    process = subprocess.Popen(
        [sys.executable, "-m", "braintumor.bench.perf.scaling", str(small_bundle), *options],
        env=os.environ | {"TMPDIR": str(work)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(work.glob("*/5000/004999.png")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    output_text, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert len(errors.splitlines()) == 1
    assert [point["images"] for point in json.loads(output.read_bytes())["points"]] == [5]
    assert "5 images" in output_text
    assert not list(work.glob("tmp*"))
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert not [command for command in commands if str(work).encode() in command]


def test_scaling_script_refuses_file_of_other_bundle(
    run: Callable[..., tuple[int, str]], small_bundle: Path, tmp_path: Path
) -> None:
    output = tmp_path / "scaling.json"
    assert run("--counts", "5", "--threads", "1", "--json", str(output))[0] == 0
    other = Path(shutil.copytree(small_bundle, tmp_path / "other"))
    manifest = other / "bundle.json"
    manifest.write_text(json.dumps(with_checksum({**json.loads(manifest.read_text()), "name": "other"})))
    code, text = run("--counts", "5", "--threads", "1", "--json", str(output), bundle=other)
    assert (code, "holds another bundle, engine, machine or other images" in text) == (2, True), text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--counts", "0"), 2, "must be >= 1"),
        (("--threads", "x"), 2, "is not a list of int"),
        (("--data", "nowhere"), 2, "nowhere is not there"),
    ],
)
def test_scaling_script_exit_codes_of_bad_input(
    run: Callable[..., tuple[int, str]], arguments: tuple[str, ...], code: int, message: str
) -> None:
    exit_code, text = run("--counts", "5", *arguments)
    assert (exit_code, message in text) == (code, True), text


def test_scaling_script_refuses_other_file(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    output = tmp_path / "other.json"
    for other, message in (
        ('{"schema": "x"}', "is of schema 'x'"),
        ('{"schema": "braintumor.scaling/1"}', "environment"),
    ):
        output.write_text(other)
        code, text = run("--json", str(output))
        assert (code, message in text, "name another file with --json" in text) == (4, True, True), text
