"""A bundle that is not accepted on the engine that answers says so everywhere, or does not answer."""

import csv
import io
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from braintumor.errors import UsageError, VerdictError
from braintumor.runtime.bundle.acceptance import write_acceptance
from braintumor.runtime.bundle.load import MANIFEST, load_bundle
from braintumor.runtime.bundle_lines import table_verdict_lines, verdict_caution
from braintumor.runtime.cli import infer
from braintumor.runtime.current_verdict import current_verdict
from braintumor.runtime.ensemble import Ensemble
from tests.support.bundles import forge_bundle

ENGINE = "onnxruntime-cpu"
NOW = f"onnxruntime {version('onnxruntime')}"
VERDICT = {
    "status": "accepted",
    "reason": "40 of 703 labels flip",
    "engine": ENGINE,
    "engine_version": NOW,
    "reference": "keras",
    "images": 703,
    "correct": 690,
    "flips": 0,
}
# Of a verdict: its changes, and what the bundle then is.
CASES: list[tuple[dict[str, str] | None, str]] = [
    (None, "not judged"),
    ({}, "accepted"),
    ({"status": "refused"}, "refused"),
    ({"status": "refused", "engine": "openvino-cpu"}, "refused"),
    ({"status": "not shown"}, "not shown"),
    ({"engine": "openvino-cpu"}, "stale"),
    ({"engine_version": "onnxruntime 1.0.0"}, "stale"),
]
TOLD = {
    "not judged": "never judged",
    "refused": "40 of 703 labels flip",
    "not shown": "40 of 703 labels flip",
    "stale": f"{ENGINE} ({NOW}) answers now",
}
BundleFactory = Callable[[dict[str, str] | None], Path]


@pytest.fixture
def judged_bundle(graph: Callable[..., onnx.ModelProto], handmade: Callable[..., Path]) -> BundleFactory:
    """A bundle with such a verdict, or none."""

    def make(changes: dict[str, str] | None) -> Path:
        folder = handmade(graph())
        if changes is not None:
            write_acceptance(folder / MANIFEST, load_bundle(folder).details, VERDICT | changes)
        return folder

    return make


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.png"
    Image.fromarray(np.full((16, 16), 90, np.uint8)).save(path)
    return path


def answered(folder: Path, scan: Path, *options: Any) -> Result:
    return CliRunner().invoke(infer, [str(scan), "--bundle", str(folder), "--engine", ENGINE, *map(str, options)])


@pytest.mark.parametrize(("changes", "status"), CASES)
def test_infer_tells_a_verdict_that_does_not_hold(
    judged_bundle: BundleFactory, scan: Path, changes: dict[str, str] | None, status: str
) -> None:
    folder = judged_bundle(changes)
    done = answered(folder, scan, "--format", "jsonl")
    assert done.exit_code == 0, done.output
    lines = done.stderr.splitlines()
    assert [TOLD[status] in line for line in lines] == ([] if status == "accepted" else [True])
    bundle = json.loads(done.stdout)["bundle"]
    assert bundle["verdict"] == status
    assert ("judged_on" in bundle) == (status != "not judged")
    (row,) = csv.DictReader(io.StringIO(answered(folder, scan, "--format", "csv").stdout))
    assert row["verdict"] == status
    table = answered(folder, scan, "--format", "table").stdout
    assert TOLD.get(status, f"verdict accepted on {ENGINE}") in table


@pytest.mark.parametrize(("changes", "status"), CASES)
def test_require_accepted_answers_with_nothing_else(
    judged_bundle: BundleFactory, scan: Path, tmp_path: Path, changes: dict[str, str] | None, status: str
) -> None:
    folder, out = judged_bundle(changes), tmp_path / "out.jsonl"
    out.write_text("good\n")
    done = answered(folder, scan, "--require", "accepted", "--output", out)
    if status == "accepted":
        assert done.exit_code == 0, done.output
        return
    assert done.exit_code == 4
    assert out.read_text() == "good\n"
    (line,) = done.stderr.splitlines()
    assert TOLD[status] in line
    with pytest.raises(VerdictError) as refused:
        Ensemble.load(folder, engine=ENGINE, require="accepted")
    assert refused.value.remedy


def test_ensemble_refuses_an_unknown_requirement(judged_bundle: BundleFactory) -> None:
    with pytest.raises(UsageError, match="allowed are accepted"):
        Ensemble.load(judged_bundle(None), engine=ENGINE, require="refused")  # type: ignore[arg-type]


def test_current_verdict_takes_an_older_verdict_without_a_version(judged_bundle: BundleFactory) -> None:
    folder = judged_bundle(None)
    verdict = {name: value for name, value in VERDICT.items() if name != "engine_version"}
    write_acceptance(folder / MANIFEST, load_bundle(folder).details, verdict)
    assert current_verdict(load_bundle(folder), {"name": ENGINE, "version": NOW}).status == "accepted"
    assert current_verdict(load_bundle(folder), {"name": "tensorrt", "version": "11"}).status == "stale"


def test_the_starter_bundle_gets_one_line_in_a_table_and_no_caution(
    graph: Callable[..., onnx.ModelProto], own_cache_of_the_test: Path
) -> None:
    raw = {"m": graph().SerializeToString()}
    bundle = load_bundle(
        forge_bundle(own_cache_of_the_test / "starter" / "key" / "starter", raw, side=16, weights=[1.0])
    )
    engine = {"name": ENGINE, "version": NOW}
    assert verdict_caution(bundle, engine) == ""
    (line,) = table_verdict_lines(bundle, engine)
    assert "come with the package" in line
    elsewhere = load_bundle(forge_bundle(own_cache_of_the_test / "mine" / "starter", raw, side=16, weights=[1.0]))
    assert "never judged" in verdict_caution(elsewhere, engine)
