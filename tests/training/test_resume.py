"""A run that is cut off ends as the undisturbed run ends."""

import random
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from braintumor.training.fit.checkpoint import Position, RunFolder
from braintumor.training.fit.progress import Progress

SCRIPT = Path(__file__).with_name("small.py")


def _figures(position: Position) -> list[tuple[float, ...]]:
    return [(row.train_loss, row.train_accuracy, row.val_loss, row.val_accuracy, row.size) for row in position.rows]


class _CutOffError(Exception):
    pass


@pytest.mark.usefixtures("small_network")
def test_train_model_resumed_in_the_middle_of_epochs_gives_the_same(small: ModuleType, tmp_path: Path) -> None:
    undisturbed = small.run(tmp_path / "a")
    for stop_at in ((1, 3), (3, 6), (4, 1)):

        def stop(at: Progress, stop_at: tuple[int, int] = stop_at) -> None:
            if (at.epoch, at.step) == stop_at:
                raise _CutOffError

        with pytest.raises(_CutOffError):
            small.run(tmp_path / "b", progress=stop)
    resumed = small.run(tmp_path / "b")
    assert _figures(resumed) == _figures(undisturbed)
    first, second = (RunFolder(tmp_path / name).load_best() for name in "ab")
    assert first is not None
    assert second is not None
    assert all(np.array_equal(weight, again) for weight, again in zip(first, second, strict=True))


@pytest.mark.slow
def test_train_model_killed_three_times_and_resumed_gives_the_same(tmp_path: Path) -> None:
    subprocess.run([sys.executable, SCRIPT, tmp_path / "a"], check=True, capture_output=True)
    moments = random.Random(20)  # noqa: S311
    for _ in range(3):
        steps = moments.randint(3, 9)
        with subprocess.Popen([sys.executable, SCRIPT, tmp_path / "b"], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(steps):
                assert process.stdout.readline()
            time.sleep(moments.uniform(0, 0.05))
            process.kill()
    last = subprocess.run([sys.executable, SCRIPT, tmp_path / "b"], check=True, capture_output=True, text=True)
    assert last.stdout.splitlines()[0] != "1 1", "the run began afresh instead of going on"
    columns = slice(1, 6)
    histories = [
        [line.split(",")[columns] for line in (tmp_path / name / "history.csv").read_text().splitlines()]
        for name in "ab"
    ]
    assert histories[0] == histories[1]
    assert len(histories[0]) == 7
