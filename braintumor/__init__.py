"""Deploy ensembles of Keras brain MRI classifiers and prove that they still decide the same.

A tour, in the order of the data:

- `braintumor.models`: the four backbones as data, their Keras builders, the class labels.
- `braintumor.training`: trains the weights.
- `braintumor.export`: `.keras` → ONNX in FP32, FP16, BF16 or INT8, verified against Keras, packed as a bundle;
  TensorRT plans from it.
- `braintumor.runtime`: a bundle and images in, predictions out. Never imports TensorFlow.
- `braintumor.bench`: the gate: accuracy with intervals, flips, a verdict; latency beside baselines; the report.
- `braintumor.errors`: every error that is raised on purpose, with its exit code.

The embedding API:

    with braintumor.Ensemble.load("bundles/fp16") as ensemble:
        prediction = ensemble.predict("scan.png")

Research use only. Not a medical device.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from braintumor.runtime.ensemble import Ensemble

__all__ = ["NOTICE", "Ensemble", "__version__"]

__version__ = "0.1.0"

NOTICE = "Research use only. Not a medical device."


def __getattr__(name: str) -> Any:
    # `Ensemble` pulls in NumPy; `bt-infer --help` must not pay for that.
    if name == "Ensemble":
        from braintumor.runtime.ensemble import Ensemble

        return Ensemble
    raise AttributeError(f"module 'braintumor' has no attribute {name!r}")
