"""Thresholds of activations: the magnitude that becomes 127, measured on images by three methods.

- minmax: the largest magnitude seen. Nothing saturates; one outlier coarsens everything.
- percentile: the magnitude below which 99.99 % of the values lie.
- entropy: the threshold whose int8 distribution has the least Kullback-Leibler divergence from the float one
  (S. Migacz, "8-bit inference with TensorRT", GTC 2017, S7310).
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from braintumor.export.graph.io_wrapper import IMAGE
from braintumor.export.graph.qdq import weighted_nodes
from braintumor.export.graph.session import batches, session

__all__ = ["METHODS", "activation_thresholds"]

_BINS: Final = 2048
_LEVELS: Final = 128
_PERCENTILE: Final = 99.99
# Activations of one batch are in memory at a time.
_BATCH: Final = 8

Histogram = NDArray[np.int64]


def activation_thresholds(
    model: onnx.ModelProto, images: NDArray[np.uint8], progress: Callable[[float], None] = lambda _: None
) -> Mapping[str, Mapping[str, float]]:
    """Measure the tensors that the weighted nodes read.

    Args:
        model: An exported FP32 graph.
        images: uint8 [n, H, W], training images.
        progress: Gets the part that is done, 0..1.

    Returns:
        Method → activation tensor → threshold, greater than 0.
    """
    names = sorted({node.activation for node in weighted_nodes(model)})
    largest = dict.fromkeys(names, 0.0)
    passes = 2 * len(images)
    for done, values in _activations(model, names, images):
        for name, value in values.items():
            largest[name] = max(largest[name], float(np.abs(value).max()))
        progress(done / passes)
    # A tensor that is always zero quantises exactly at any scale.
    largest = {name: value or 1.0 for name, value in largest.items()}
    histograms = {name: np.zeros(_BINS, np.int64) for name in names}
    for done, values in _activations(model, names, images):
        for name, value in values.items():
            histograms[name] += _histogram(value, largest[name])
        progress(0.5 + done / passes)
    return {
        method: {name: threshold(histograms[name]) * largest[name] / _BINS for name in names}
        for method, threshold in METHODS.items()
    }


def _activations(
    model: onnx.ModelProto, names: list[str], images: NDArray[np.uint8]
) -> Iterator[tuple[int, dict[str, NDArray[np.float32]]]]:
    """The tensors of those names, a batch at a time, with the number of images done."""
    present = {value.name for value in (*model.graph.input, *model.graph.output)}
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    tapped.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in present)
    running = session(tapped.SerializeToString())
    done = 0
    for batch in batches(images, _BATCH):
        done += len(batch)
        yield done, dict(zip(names, running.run(names, {IMAGE: batch}), strict=True))


def _histogram(value: NDArray[np.float32], largest: float) -> Histogram:
    """int64 [bins] of |value| in 0..largest."""
    bins = (np.abs(value.ravel()) * np.float32(_BINS / largest)).astype(np.int32)
    return np.bincount(np.minimum(bins, _BINS - 1), minlength=_BINS)


def _minmax(_histogram: Histogram) -> float:
    return float(_BINS)


def _percentile(histogram: Histogram) -> float:
    cumulated = np.cumsum(histogram)
    return float(np.searchsorted(cumulated, cumulated[-1] * _PERCENTILE / 100) + 1)


def _entropy(histogram: Histogram) -> float:
    """The number of bins below the threshold. Zeros are left out: every threshold represents them exactly."""
    counts = histogram.astype(np.float64)
    counts[0] = 0
    candidates = range(_LEVELS, _BINS + 1, 8)
    return float(min(candidates, key=lambda bins: _divergence(counts, bins)))


def _divergence(counts: NDArray[np.float64], bins: int) -> float:
    """KL divergence of the clipped distribution from what its int8 levels can represent of it."""
    reference = counts[:bins].copy()
    occupied = reference > 0
    reference[-1] += counts[bins:].sum()
    edges = np.linspace(0, bins, _LEVELS + 1).astype(int)
    sums = np.add.reduceat(counts[:bins], edges[:-1])
    members = np.maximum(np.add.reduceat(occupied.astype(np.int64), edges[:-1]), 1)
    level = np.repeat(sums / members, np.diff(edges)) * occupied
    total, represented = reference.sum(), level.sum()
    if not represented:
        return float("inf")
    both = (reference > 0) & (level > 0)
    p, q = reference[both] / total, level[both] / represented
    # What falls where nothing represents it counts as if it were a tiny probability.
    lost = reference[(reference > 0) & (level == 0)].sum() / total
    return float((p * np.log(p / q)).sum() + lost * np.log(1e9))


METHODS: Final[Mapping[str, Callable[[Histogram], float]]] = MappingProxyType(
    {"minmax": _minmax, "percentile": _percentile, "entropy": _entropy}
)
"""Name → from a histogram of magnitudes to the number of bins that the threshold spans."""
