"""Every bit of a bundle counts: sizes, whole hashes, and any single bit that flips."""

import json
from pathlib import Path
from typing import Any

import pytest

from braintumor.errors import IntegrityError
from braintumor.runtime.bundle.checksum import with_checksum
from braintumor.runtime.bundle.load import MANIFEST, load_bundle

MODEL = "a/model.onnx"


def test_load_bundle_reads_a_manifest_up_to_its_limit(copied: Path) -> None:
    def write(size_bytes: int) -> None:
        text = json.dumps(json.loads((copied / MANIFEST).read_bytes()))
        (copied / MANIFEST).write_text(text.ljust(size_bytes))

    write(4 << 20)
    assert load_bundle(copied).name == "single"
    write((4 << 20) + 1)
    with pytest.raises(IntegrityError, match="4194305 bytes; must be <= 4194304"):
        load_bundle(copied)


def test_load_bundle_compares_whole_hashes(copied: Path) -> None:
    def same_beginning(manifest: dict[str, Any]) -> None:
        entry = manifest["members"][0]
        entry["sha256"] = entry["sha256"][:-1] + ("1" if entry["sha256"][-1] == "0" else "0")

    path = copied / MANIFEST
    manifest = json.loads(path.read_bytes())
    same_beginning(manifest)
    path.write_text(json.dumps(with_checksum(manifest)))
    with pytest.raises(IntegrityError, match="SHA-256"):
        load_bundle(copied)


@pytest.mark.parametrize("name", [MODEL, "a/probe.raw", MANIFEST])
def test_load_bundle_refuses_every_flipped_bit_of_a_sample(copied: Path, name: str) -> None:
    raw = (copied / name).read_bytes()
    accepted = []
    for at in range(0, len(raw), max(1, len(raw) // 40)):
        for bit in range(8):
            changed = raw[:at] + bytes([raw[at] ^ (1 << bit)]) + raw[at + 1 :]
            if name == MANIFEST and _says_the_same(changed, raw):
                continue
            (copied / name).write_bytes(changed)
            try:
                load_bundle(copied)
            except IntegrityError:
                continue
            accepted.append((at, bit))
    assert accepted == []


def _says_the_same(changed: bytes, raw: bytes) -> bool:
    """Whether two JSON texts hold the same values, as where the last digit of a number is below its precision."""
    try:
        return bool(json.loads(changed) == json.loads(raw))
    except ValueError:
        return False
