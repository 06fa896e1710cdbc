"""`run_process` and `own_peak_rss_mb`, whatever the memory of the parent."""

import sys
from pathlib import Path

import numpy as np

from braintumor.bench.metrics.process import run_process


def test_run_process_peak_memory_is_that_of_command() -> None:
    held = np.ones(100_000_000, np.uint8)
    small = run_process([sys.executable, "-c", "print('small')"])
    large = run_process([sys.executable, "-c", "print(len(bytearray(b'x' * 80_000_000)))"])
    assert held.all()
    assert small.peak_rss_mb < 60
    assert 80 < large.peak_rss_mb - small.peak_rss_mb < 240


def test_run_process_returns_output_and_exit_code() -> None:
    run = run_process(
        [sys.executable, "-c", "import os, sys; print(os.environ['A']); sys.exit(3)"], environment={"A": "b"}
    )
    assert (run.stdout, run.returncode) == ("b\n", 3)
    assert run.wall_s > 0


def test_run_process_cpu_time_and_working_folder(tmp_path: Path) -> None:
    idle = run_process([sys.executable, "-c", "import os, time; time.sleep(1); print(os.getcwd())"], folder=tmp_path)
    busy = run_process([sys.executable, "-c", "import time\nwhile time.process_time() < 1: pass"])
    assert Path(idle.stdout.strip()).samefile(tmp_path)
    assert idle.cpu_s < 0.5
    assert 1 <= busy.cpu_s < 2


def test_own_peak_rss_mb_excludes_parent() -> None:
    held = np.ones(200_000_000, np.uint8)
    code = "from braintumor.bench.metrics.process import own_peak_rss_mb; {} print(own_peak_rss_mb())"
    small, large = (
        float(run_process([sys.executable, "-c", code.format(work)]).stdout)
        for work in ("", "len(bytearray(b'x' * 80_000_000));")
    )
    assert held.all()
    assert small < 100
    assert 80 < large - small < 240
