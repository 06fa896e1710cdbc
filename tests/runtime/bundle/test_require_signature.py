"""Every command that reads a bundle refuses one that is not signed with the key, with exit code 4."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from braintumor.bench.cli import main as bench
from braintumor.export.cli import export
from braintumor.export.tensorrt.cli import engine
from braintumor.runtime.bundle.cli import main as bundle_command
from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.cli import infer
from tests.support.images import write_phantom_classes
from tests.support.signatures import write_key_pair, write_signature

Keys = tuple[Path, Path]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return write_key_pair(tmp_path_factory.mktemp("keys"))


def run(command: click.Command, *arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


COMMANDS: dict[str, Callable[[Path, Path], tuple[click.Command, list[str | Path]]]] = {
    "bt-infer": lambda bundle, scan: (infer, [scan, "--bundle", bundle]),
    "bt-bench accuracy": lambda bundle, scan: (bench, ["accuracy", bundle, "--data", scan.parent]),
    "bt-bench accuracy --reference": lambda bundle, scan: (
        bench,
        ["accuracy", bundle, "--data", scan.parent, "--reference", bundle],
    ),
    "bt-bench latency": lambda bundle, _: (bench, ["latency", bundle]),
    "bt-bench report": lambda bundle, scan: (bench, ["report", bundle, "--data", scan.parent]),
    "bt-export --check": lambda bundle, _: (export, ["--check", bundle]),
    "bt-engine": lambda bundle, _: (engine, [bundle]),
    "bt-bundle show": lambda bundle, _: (bundle_command, ["show", bundle]),
    "bt-bundle list": lambda bundle, _: (bundle_command, ["list", bundle.parent]),
    "bt-bundle diff": lambda bundle, _: (bundle_command, ["diff", bundle, bundle]),
    "bt-bundle copy": lambda bundle, _: (bundle_command, ["copy", bundle, bundle.parent / "copy"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_refuses_bundle_without_signature(name: str, copied: Path, scans: list[Path], keys: Keys) -> None:
    command, arguments = COMMANDS[name](copied, scans[0])
    # Nor one that was signed, and changed.
    for state in ("unsigned", "changed"):
        if state == "changed":
            write_signature(copied, keys[0])
            (copied / "bundle.json").write_bytes((copied / "bundle.json").read_bytes() + b" ")
        done = run(command, *arguments, "--require-signature", keys[1])
        assert done.exit_code == 4, (state, done.output, done.exception)
        # `list` goes on with other bundles, and says it on standard output.
        assert ("not signed" if state == "unsigned" else "was changed") in done.output


def test_verify_refuses_bundle_without_signature(copied: Path, keys: Keys) -> None:
    pytest.importorskip("tensorflow")
    assert run(export, "--verify", copied, "--require-signature", keys[1]).exit_code == 4


def test_infer_answers_with_a_signed_bundle(copied: Path, scans: list[Path], keys: Keys) -> None:
    write_signature(copied, keys[0])
    arguments = [scans[0], "--bundle", copied, "--engine", "onnxruntime-cpu", "--format", "json"]
    signed = run(infer, *arguments, "--require-signature", keys[1])
    assert signed.exit_code == 0, signed.output
    (prediction,) = json.loads(signed.stdout)
    bundle = load_bundle(copied, public_key=keys[1])
    assert bundle.signature is not None
    assert prediction["bundle"]["signed_by"] == bundle.signature.key_sha256
    (without,) = json.loads(run(infer, *arguments).stdout)
    assert "signed_by" not in without["bundle"]
    assert without["probabilities"] == prediction["probabilities"]


def test_latency_times_a_signed_bundle(copied: Path, tmp_path: Path, keys: Keys) -> None:
    """The processes that time it verify it again."""
    write_signature(copied, keys[0])
    done = run(
        bench,
        *("latency", copied, "--engine", "onnxruntime-cpu", "--baseline", "onnxruntime", "--batch", "1"),
        *("--images", "1", "--rounds", "4", "--seconds", "0.1", "--require-signature", keys[1]),
        *("--json", tmp_path / "latency.json"),
    )
    assert done.exit_code == 0, (done.output, done.exception)
    assert len(json.loads((tmp_path / "latency.json").read_bytes())["contenders"]) == 2


def test_accuracy_judges_a_signed_bundle_and_leaves_its_signature(copied: Path, tmp_path: Path, keys: Keys) -> None:
    write_signature(copied, keys[0])
    write_phantom_classes(tmp_path / "images", 4)
    done = run(
        bench,
        *("accuracy", copied, "--data", tmp_path / "images", "--engine", "onnxruntime-cpu", "--robustness", "0"),
        *("--reference", copied, "--require-signature", keys[1]),
    )
    # Of sixteen images nothing can be shown.
    assert done.exit_code == 3, (done.output, done.exception)
    assert f"bt-bundle sign {copied}" in done.stderr
    bundle = load_bundle(copied, public_key=keys[1])
    assert bundle.signature is not None
    assert bundle.signature.unsigned_verdict
    assert bundle.acceptance is None
    verdict = load_bundle(copied).acceptance
    assert verdict is not None
    assert verdict["images"] == 16


def test_export_takes_a_key_and_signs(small_keras: Callable[..., Path], tmp_path: Path, keys: Keys) -> None:
    pytest.importorskip("model_signing")
    model, folder = small_keras("a", size=(32, 32), seed=0), tmp_path / "bundle"
    arguments: list[Any] = [model, "--bundle", folder, "--precision", "fp32", "--classes", "kaggle"]
    for _ in range(2):
        # A signed bundle is replaced as any other.
        done = run(export, *arguments, "--sign", keys[0])
        assert done.exit_code == 0, (done.output, done.exception)
        assert load_bundle(folder, public_key=keys[1]).signature is not None
    assert "signed by the key" in done.output
    refused = run(export, *arguments, "--sign", keys[1])
    assert refused.exit_code == 2
    assert "not a private key" in refused.output
    assert load_bundle(folder, public_key=keys[1])
    assert run(export, *arguments, "--require-signature", keys[1]).exit_code == 2
    assert run(export, "--check", folder, "--sign", keys[0]).exit_code == 2
    # Writing figures into it would end its signature.
    unsigned = run(export, "--verify", folder)
    assert unsigned.exit_code == 2
    assert "--sign" in unsigned.output
    again = run(export, "--verify", folder, model.parent, "--sign", keys[0], "--require-signature", keys[1])
    assert again.exit_code == 0, (again.output, again.exception)
    assert load_bundle(folder, public_key=keys[1]).signature is not None
