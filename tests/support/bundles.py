"""Bundles: exported for real without images of a data set, or forged."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from braintumor.export import ExportOptions, MemberOptions, VerificationImages, export_bundle
from braintumor.models.labels import CLASSES
from braintumor.runtime.bundle.acceptance import write_acceptance
from braintumor.runtime.bundle.load import MANIFEST
from braintumor.runtime.image.decode import DECODE_VERSION
from tests.support.keras_worker import keras_in_this_process


def export_members(folder: Path, members: Sequence[MemberOptions], precision: Any = "fp32") -> Path:
    """Export Keras models into a folder, verified with 64 phantoms; returns the folder."""
    images = VerificationImages((), 64)
    options = ExportOptions(tuple(members), precision, folder, folder.name, images, "bt-export a.keras")
    with keras_in_this_process():
        return export_bundle(options).folder


def accept_bundle(folder: Path, engine: Mapping[str, str]) -> Path:
    """Write the verdict "accepted" on an engine (name and version, as in a prediction) into a bundle."""
    path = folder / MANIFEST
    counts = {"images": 703, "correct": 690, "flips": 0}
    by = {"engine": engine["name"], "engine_version": engine["version"], "reference": "keras"}
    write_acceptance(path, json.loads(path.read_bytes()), {"status": "accepted", "reason": "", **by, **counts})
    return folder


def forge_bundle(folder: Path, models: Mapping[str, bytes], *, side: int, weights: Sequence[float]) -> Path:
    """Write a bundle of ONNX files (name → bytes), with fitting hashes, as a forger would."""
    members = []
    for (name, raw), weight in zip(models.items(), weights, strict=True):
        path = folder / name / "model.onnx"
        path.parent.mkdir(parents=True)
        path.write_bytes(raw)
        members.append(
            {
                "name": name,
                "weight": weight,
                "height": side,
                "width": side,
                "resize": "antialias",
                "precision": "fp32",
                "file": f"{name}/model.onnx",
                "sha256": hashlib.sha256(raw).hexdigest(),
                "size_bytes": len(raw),
                "source": {},
                "opset": 18,
                "tools": {},
                "parity": {},
            }
        )
    manifest = {
        "schema": "braintumor.bundle/1",
        "name": folder.name,
        "classes": list(CLASSES),
        "decode_version": DECODE_VERSION,
        "fusion": "soft-vote",
        "members": members,
        "command": "by hand",
    }
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder
