"""Throughput of `bt-train`: runs `braintumor.training.fit.throughput`, which describes the measurement.

    python bench/perf/training_throughput.py --model DenseNet121 --size 128 --steps 30

It runs by name in a process of its own: bench may not import training, and modules of this folder would hide those of
the standard library.
"""

import subprocess
import sys

__all__: list[str] = []

if __name__ == "__main__":
    command = [sys.executable, "-P", "-m", "braintumor.training.fit.throughput", *sys.argv[1:]]
    sys.exit(subprocess.run(command, check=False).returncode)
