"""A process is measured as itself, whatever the process that measures it holds."""

import sys

import numpy as np

from braintumor.bench.processes import run_process


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


def test_a_process_knows_its_own_peak_without_that_of_its_parent() -> None:
    held = np.ones(200_000_000, np.uint8)
    code = "from braintumor.bench.processes import own_peak_rss_mb; {} print(own_peak_rss_mb())"
    small, large = (
        float(run_process([sys.executable, "-c", code.format(work)]).stdout)
        for work in ("", "len(bytearray(b'x' * 80_000_000));")
    )
    assert held.all()
    assert small < 100
    assert 80 < large - small < 240
