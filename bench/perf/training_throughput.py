"""Does `bt-train` keep the device busy? Runs `braintumor.training.fit.throughput`, which says what is measured.

    python bench/perf/training_throughput.py --model DenseNet121 --size 128 --steps 30

By name and in a process of its own: this folder lies below training and may not import it, and as a script's
folder it would hide modules of the standard library.
"""

import subprocess
import sys

__all__: list[str] = []

if __name__ == "__main__":
    command = [sys.executable, "-P", "-m", "braintumor.training.fit.throughput", *sys.argv[1:]]
    sys.exit(subprocess.run(command, check=False).returncode)
