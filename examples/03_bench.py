"""Time a bundle beside plain ONNX Runtime, on generated phantoms, and look at the figures."""

import sys
from pathlib import Path

from braintumor.bench import LatencyOptions, Window, measure_latency

bundle = Path(sys.argv[1] if len(sys.argv) > 1 else "bundles/example")

options = LatencyOptions(
    bundles=(bundle,),
    engines=("onnxruntime-cpu",),
    baselines=("onnxruntime",),
    batches=(1, 8),
    images=8,
    window=Window(min_rounds=4, max_s=5.0),
)
result = measure_latency(options)

for runner in result.runners:
    for times in runner.batches:
        print(f"{runner.key}, batch {times.batch}: p50 {times.p50_ms:.1f} ms, p95 {times.p95_ms:.1f} ms")

# The two took turns, so that what disturbed one disturbed both: their ratio is what can be relied on.
for comparison in result.comparisons:
    ratio = comparison.ratio
    print(f"batch {comparison.batch}: {ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}] of our time")

# What the deployed bundle decides is judged on real images: bt-bench accuracy BUNDLE --data DIR, or
# braintumor.bench.evaluate_bundles; one page on both: bt-bench report BUNDLE --data DIR.
