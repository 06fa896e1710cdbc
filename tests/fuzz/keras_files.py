"""Keras files with seeded faults: in the archive, the config, the metadata or the weights, or in an `.h5` file."""

import json
import random
import zipfile
from pathlib import Path

from braintumor.errors import BraintumorError
from braintumor.export.from_keras import open_archive, write_network
from tests.support.faults import damaged, json_fault, one_line
from tests.support.paths import ROOT

_DATA = ROOT / "tests" / "export" / "from_keras" / "data"
_FAULTS = ("archive", "config.json", "config.json", "values", "values", "metadata.json", "model.weights.h5", "h5")


def outcome(index: int, folder: Path) -> str:
    """Convert the file of that number: "converted", or the class of the refusal; anything else is raised."""
    rng = random.Random(f"keras {index}")  # noqa: S311 - a repeatable choice of faults
    kind = rng.choice(_FAULTS)
    path = folder / ("x.h5" if kind == "h5" else "x.keras")
    source = _DATA / ("keras2.h5" if kind == "h5" else "keras2.keras")
    if kind in {"archive", "h5"}:
        path.write_bytes(damaged(source.read_bytes(), rng))
    else:
        with zipfile.ZipFile(source) as whole, zipfile.ZipFile(path, "w") as changed:
            for name in whole.namelist():
                content = whole.read(name)
                if name == "config.json" and kind == "values":
                    content = json.dumps(json_fault(json.loads(content), rng)).encode()
                elif name == kind:
                    content = damaged(content, rng)
                changed.writestr(name, content)
    try:
        write_network(open_archive(path))
    except BraintumorError as error:
        return one_line(error)
    return "converted"
