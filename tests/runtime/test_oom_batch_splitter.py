"""A batch that does not fit into memory is answered in halves."""

import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from braintumor.bench.data.phantoms import phantoms
from braintumor.errors import OutOfMemoryError
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.members import Images, MemberPredictions
from braintumor.runtime.oom_batch_splitter import OomBatchSplitter

GEOMETRY = (2, 2, "bilinear")


class Room:
    """Members that hold so many images, and answer with what they saw."""

    def __init__(self, images: int) -> None:
        self.images = images
        self.seen: list[int] = []

    def __call__(self, images: Images) -> MemberPredictions:
        pixels = images[GEOMETRY]
        self.seen.append(len(pixels))
        if len(pixels) > self.images:
            raise OutOfMemoryError(f"{len(pixels)} images do not fit")
        answers = np.repeat(pixels[None, :, 0, :1].astype(np.float32), 4, axis=2)
        return MemberPredictions(np.concatenate([answers, answers + 100]), np.ones((2, len(pixels)), np.bool_))


def batch(count: int) -> Images:
    return {GEOMETRY: np.repeat(np.arange(count, dtype=np.uint8), 4).reshape(count, 2, 2)}


@pytest.mark.parametrize(
    ("room", "count", "seen"),
    [
        (32, 32, [32]),
        (8, 32, [32, 16, 8, 8, 8, 8]),
        (3, 7, [7, 4, 2, 2, 2, 1]),
        (1, 3, [3, 2, 1, 1, 1]),
    ],
)
def test_infer_keeps_every_image_at_its_place(room: int, count: int, seen: Sequence[int]) -> None:
    members = Room(room)
    answers = OomBatchSplitter().infer(members, batch(count))
    assert members.seen == seen
    assert answers.ran.shape == (2, count)
    np.testing.assert_array_equal(answers.probabilities[0, :, 0], np.arange(count))
    np.testing.assert_array_equal(answers.probabilities[1, :, 0], np.arange(count) + 100)


def test_infer_remembers_the_size_that_fitted(caplog: pytest.LogCaptureFixture) -> None:
    splitter, members = OomBatchSplitter(), Room(4)
    with caplog.at_level(logging.WARNING, "braintumor"):
        splitter.infer(members, batch(8))
        splitter.infer(members, batch(8))
    assert members.seen == [8, 4, 4, 4, 4]
    assert [record.getMessage() for record in caplog.records] == [
        "8 images do not fit; going on with 4 images at a time"
    ]


def test_infer_raises_when_one_image_does_not_fit() -> None:
    with pytest.raises(OutOfMemoryError, match="1 images do not fit"):
        OomBatchSplitter().infer(Room(0), batch(4))


_STARVED = """
import resource, sys
import numpy as np
from braintumor.runtime.ensemble import Ensemble

images = np.load(sys.argv[2])
with Ensemble.load(sys.argv[1], engine="onnxruntime-cpu", threads=1) as ensemble:
    list(ensemble.predict_many(images[:1]))
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[3]), resource.RLIM_INFINITY))
    labels = [record.label for record in ensemble.predict_many(images, batch_size=len(images), decode_threads=1)]
print(*labels)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")
def test_predict_many_splits_batches_of_a_real_engine(single: Path, tmp_path: Path) -> None:
    images = np.repeat(phantoms(16, 64, 64, seed=9), 256, axis=0)
    np.save(tmp_path / "images.npy", images)
    arguments = [str(single), str(tmp_path / "images.npy"), str(120_000_000)]
    done = subprocess.run(
        [sys.executable, "-c", _STARVED, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "images at a time" in done.stderr
    with Ensemble.load(single, engine="onnxruntime-cpu") as ensemble:
        labels = [record.label for record in ensemble.predict_many(images)]
    assert done.stdout.split() == labels
