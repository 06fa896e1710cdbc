"""Bundles with seeded faults: in `bundle.json`, its checksum fitting or not, and in the files that it lists."""

import hashlib
import json
import random
import shutil
from pathlib import Path

from braintumor.errors import IntegrityError
from braintumor.runtime.bundle.checksum import CHECKSUM, with_checksum
from braintumor.runtime.bundle.load import MANIFEST, Bundle, load_bundle
from tests.support.bundles import forge_bundle
from tests.support.faults import damaged, json_fault, one_line
from tests.support.onnx_models import small_graph

_FAULTS = ("text", "model", "file", "values", "values", "sealed", "sealed", "sealed", "sealed model")


class Bundles:
    """A tiny whole bundle, and copies of it with faults."""

    def __init__(self, folder: Path) -> None:
        """Write the whole one into a folder that is there."""
        model = small_graph().SerializeToString()
        whole = forge_bundle(folder / "whole", {"a": model, "b": model}, side=16, weights=[1.0, 0.5])
        self._manifest = with_checksum(json.loads((whole / MANIFEST).read_text()))
        (whole / MANIFEST).write_text(json.dumps(self._manifest, indent=1))
        self.bundle = load_bundle(whole)
        self._folder = folder

    def outcome(self, index: int) -> str:
        """Load the bundle of that number: "the same", "another" or "refused"; anything else is raised."""
        rng = random.Random(f"bundle {index}")  # noqa: S311 - a repeatable choice of faults
        copy = self._folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.bundle.folder, copy)
        kind = rng.choice(_FAULTS)
        self._harm(copy, kind, rng)
        try:
            loaded = load_bundle(copy)
        except IntegrityError as error:
            return one_line(error)
        if _answers(loaded) == _answers(self.bundle):
            return "the same"
        # Somebody who means it may write another bundle; damage may not.
        assert "sealed" in kind, kind
        return "another"

    def _harm(self, copy: Path, kind: str, rng: random.Random) -> None:
        manifest, model = copy / MANIFEST, copy / "a" / "model.onnx"
        if kind == "text":
            manifest.write_bytes(damaged(manifest.read_bytes(), rng))
        elif kind == "model":
            model.write_bytes(damaged(model.read_bytes(), rng))
        elif kind == "file":
            rng.choice([_remove, _fold, _link, _empty])(rng.choice([manifest, model]))
        elif kind == "values":
            manifest.write_text(json.dumps(json_fault(self._manifest, rng)))
        else:
            details = {key: value for key, value in self._manifest.items() if key != CHECKSUM}
            if kind == "sealed model":
                data = damaged(model.read_bytes(), rng)
                model.write_bytes(data)
                details = json.loads(json.dumps(details))
                details["members"][0] |= {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
            else:
                details = json_fault(details, rng)
            manifest.write_text(json.dumps(with_checksum(details)))


def _answers(bundle: Bundle) -> tuple[object, ...]:
    """All that its answers depend on."""
    members = [
        (member.name, member.weight, member.height, member.width, member.resize, member.crop, member.sha256)
        for member in bundle.members
    ]
    return bundle.name, bundle.classes, bundle.temperature, bundle.cascade, members


def _remove(path: Path) -> None:
    path.unlink()


def _fold(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def _empty(path: Path) -> None:
    path.write_bytes(b"")
