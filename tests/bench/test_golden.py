"""The JSON that other programs read keeps its keys and types: one golden file a schema, from real runs.

After a deliberate change: BRAINTUMOR_UPDATE_GOLDEN=1 pytest tests/bench/test_golden.py, look at the difference, and
write the pages made from it: python docs/scripts/schemas.py.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from braintumor.bench.cli import main as bench
from braintumor.bench.perf.scaling import main as scaling
from braintumor.models.labels import CLASSES
from braintumor.runtime.cli import infer

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
ENGINE = ("--engine", "onnxruntime-cpu")

# Keys under which an object has one entry a name, such as one a class: the entries are alike, the names are data.
NAMED = frozenset({"perturbations", "tools", "versions"})

# What lies below these depends on the machine.
OF_THE_MACHINE = frozenset({"environment", "machine"})


@pytest.fixture(scope="module")
def written(
    small_bundle: Path,
    small_sources: tuple[Path, Path],
    phantom_classes: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Mapping[str, Any]:
    """Schema → the document that the real command writes."""
    folder = tmp_path_factory.mktemp("golden")
    accuracy, latency, report = folder / "accuracy.json", folder / "latency.json", folder / "report"
    points = folder / "scaling.json"
    data = ("--data", phantom_classes, "--models", small_sources[0].parent.parent)
    scan = next(phantom_classes.rglob("*.png"))
    predicted = _run(infer, scan, "--bundle", small_bundle, *ENGINE, "--format", "json")
    results, audit, key = folder / "results.jsonl", folder / "audit.jsonl", folder / "audit.key"
    key.write_text("0" * 32)
    logged = ("--resume", "--output", results, "--audit", audit, "--pseudonymise", key)
    _run(infer, scan, "gone.png", "--bundle", small_bundle, *ENGINE, *logged)
    _run(bench, "accuracy", small_bundle, *ENGINE, *data, "--robustness", "4", "--no-record", "--json", accuracy)
    _run(
        bench, "latency", small_bundle, *ENGINE, *data, "--batch", "1,2", "--rounds", "4", "--seconds", "2",
        "--json", latency,
    )  # fmt: skip
    _run(scaling, small_bundle, *ENGINE, "--counts", "2,3", "--threads", "1", "--json", points)
    _run(bench, "report", "--accuracy", accuracy, "--latency", latency, "--out", report)
    return {
        "prediction": json.loads(predicted),
        "bundle": json.loads((small_bundle / "bundle.json").read_bytes()),
        "accuracy": json.loads(accuracy.read_bytes()),
        "latency": json.loads(latency.read_bytes()),
        "report": json.loads((report / "report.json").read_bytes()),
        "scaling": json.loads(points.read_bytes()),
        "run": json.loads((folder / "results.run.json").read_bytes()),
        "audit": [json.loads(line) for line in audit.read_bytes().splitlines()],
    }


@pytest.mark.parametrize(
    "schema", ["prediction", "bundle", "accuracy", "latency", "report", "scaling", "run", "audit"]
)
def test_a_document_has_the_keys_and_types_of_its_golden_file(written: Mapping[str, Any], schema: str) -> None:
    skeleton = _skeleton(written[schema])
    path = GOLDEN / f"{schema}.json"
    if os.environ.get("BRAINTUMOR_UPDATE_GOLDEN"):
        path.write_text(json.dumps(skeleton, indent=1, sort_keys=True) + "\n")
    assert skeleton == json.loads(path.read_bytes())


def _run(command: Any, *arguments: Any) -> str:
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    # A bundle that is refused, or too few images for a verdict, is written like any other.
    assert done.exit_code in {0, 3}, done.output
    return done.stdout


def _skeleton(value: Any, key: str = "") -> Any:
    """The document with a type in place of every value; alike elements of a list or mapping are merged."""
    if key in OF_THE_MACHINE:
        return dict.fromkeys(value, "any")
    if isinstance(value, dict):
        if key in NAMED or set(value) == set(CLASSES):
            return {"*": _merged([_skeleton(item) for item in value.values()])}
        return {name: _skeleton(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_merged([_skeleton(item) for item in value])] if value else []
    if isinstance(value, bool):
        return "boolean"
    return "null" if value is None else "number" if isinstance(value, int | float) else "string"


def _merged(items: list[Any]) -> Any:
    if all(isinstance(item, dict) for item in items):
        names = sorted({name for item in items for name in item})
        return {name: _merged([item[name] for item in items if name in item]) for name in names}
    if all(isinstance(item, list) for item in items):
        inner = [element for item in items for element in item]
        return [_merged(inner)] if inner else []
    kinds = sorted({item if isinstance(item, str) else json.dumps(item, sort_keys=True) for item in items})
    return kinds[0] if len(kinds) == 1 else " or ".join(kinds)
