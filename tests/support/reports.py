"""What the tests of reports share: the command, and documents to make reports of."""

from typing import Any

from click.testing import CliRunner, Result

from braintumor.bench.accuracy.result import AccuracyResult
from braintumor.bench.cli import main
from braintumor.bench.document import decode
from braintumor.bench.latency.result import LatencyResult
from braintumor.bench.report import Report

ENGINE = "onnxruntime-cpu"

CHAPTERS = (
    *("Leaderboard", "Healthy and sick", "By class", "Confusion", "Compared with the reference", "Flips"),
    *("Calibration", "Robustness", "What the verdict rests on", "Speed", "Start and memory"),
    *("Accuracy against latency", "How it was measured", "Limits"),
)
"""Headings of a page of accuracy and latency."""

Documents = tuple[dict[str, Any], dict[str, Any]]
"""Contents of a file of accuracy and of a file of latency."""


def run(*arguments: object) -> Result:
    """Run `bt-bench`."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def reported(accuracy: dict[str, Any], latency: dict[str, Any] | None = None) -> Report:
    """A report of what files hold."""
    return Report.of(decode(accuracy, AccuracyResult), None if latency is None else decode(latency, LatencyResult))


def flipped(accuracy: dict[str, Any], name: str, truth: str = "healthy") -> dict[str, Any]:
    """One flip: the reference said what is true, the bundle says glioma."""
    classes = accuracy["images"]["classes"]
    sure = [float(label == truth) for label in classes]
    wrong = [float(label == "glioma") for label in classes]
    accuracy["bundles"][0]["comparison"]["flipped"] = [
        {
            "index": 0,
            "name": name,
            "truth": truth,
            "reference_label": truth,
            "label": "glioma",
            "reference_probabilities": sure,
            "probabilities": wrong,
            "reference_margin": 1.0,
            "margin": 1.0,
            "png_base64": "iVBORw0KGgo=",
        }
    ]
    return accuracy
