"""A process is measured as itself, whatever the process that measures it holds."""

import sys
from pathlib import Path

import numpy as np

from braintumor.bench.metrics.process import run_process


def test_the_peak_is_that_of_the_command_and_not_of_its_parent() -> None:
    held = np.ones(100_000_000, np.uint8)
    small = run_process([sys.executable, "-c", "print('small')"])
    large = run_process([sys.executable, "-c", "print(len(bytearray(b'x' * 80_000_000)))"])
    assert held.all()
    assert small.peak_rss_mb < 60
    assert 80 < large.peak_rss_mb - small.peak_rss_mb < 240


def test_output_and_exit_code_are_kept() -> None:
    run = run_process(
        [sys.executable, "-c", "import os, sys; print(os.environ['A']); sys.exit(3)"], environment={"A": "b"}
    )
    assert (run.stdout, run.returncode) == ("b\n", 3)
    assert run.wall_s > 0


def test_cpu_time_is_that_of_the_work_and_the_folder_is_the_one_that_was_named(tmp_path: Path) -> None:
    idle = run_process([sys.executable, "-c", "import os, time; time.sleep(1); print(os.getcwd())"], folder=tmp_path)
    busy = run_process([sys.executable, "-c", "import time\nwhile time.process_time() < 1: pass"])
    assert Path(idle.stdout.strip()).samefile(tmp_path)
    assert idle.cpu_s < 0.5
    assert 1 <= busy.cpu_s < 2


def test_a_process_knows_its_own_peak_without_that_of_its_parent() -> None:
    held = np.ones(200_000_000, np.uint8)
    code = "from braintumor.bench.metrics.process import own_peak_rss_mb; {} print(own_peak_rss_mb())"
    small, large = (
        float(run_process([sys.executable, "-c", code.format(work)]).stdout)
        for work in ("", "len(bytearray(b'x' * 80_000_000));")
    )
    assert held.all()
    assert small < 100
    assert 80 < large - small < 240
