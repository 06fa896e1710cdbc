"""The probe of a member: a few images and what its verified file answers to them, to check every engine with."""

from pathlib import Path
from typing import Any, Final

from braintumor.bench.data.phantoms import phantoms
from braintumor.export.graph.session import run

__all__ = ["PROBE_FILE", "write_probe"]

PROBE_FILE: Final = "probe.raw"
_IMAGES: Final = 8
# Not the phantoms by which the export was verified.
_SEED: Final = 8


def write_probe(session: Any, folder: Path, height: int, width: int) -> dict[str, Any]:
    """Run a verified member on generated phantoms, not on a patient's images, and keep images and answers.

    Args:
        session: A session of its file, by `braintumor.export.graph.session.session`.
        folder: Where `PROBE_FILE` is written: uint8 [8, height, width], raw.
        height: Of the member's input, in pixels.
        width: Of the member's input, in pixels.

    Returns:
        Of the entry "probe" in `bundle.json`: "probabilities", 8 rows, by ONNX Runtime on the CPU.
    """
    images = phantoms(_IMAGES, height, width, seed=_SEED)
    (folder / PROBE_FILE).write_bytes(images.tobytes())
    return {"probabilities": run(session, images, _IMAGES).tolist()}
