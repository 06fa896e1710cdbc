"""The charts are pictures of the values, small enough for a page and sharp enough for print."""

import io

import numpy as np
from PIL import Image

from braintumor.training.data.predictions import Answers
from braintumor.training.report.evaluate import evaluate
from braintumor.training.report.plots import DPI, confusion_chart


def _chart(wrong: int) -> Image.Image:
    labels = np.arange(40) % 4
    probabilities = np.eye(4)[labels]
    probabilities[:wrong] = np.roll(probabilities[:wrong], 1, axis=1)
    found = evaluate(Answers(tuple(str(number) for number in range(40)), labels, probabilities))
    data = confusion_chart("DenseNet121", {"40 test images": found, "40 others": found})
    assert len(data) < 60_000
    return Image.open(io.BytesIO(data))


def test_a_chart_says_how_large_it_is_meant_to_be() -> None:
    picture = _chart(0)
    assert np.allclose(picture.info["dpi"], DPI, atol=0.1)
    assert picture.width > 4 * DPI


def test_other_counts_give_another_picture_and_the_same_ones_the_same() -> None:
    one, again, other = (np.asarray(_chart(wrong).convert("L"), np.int64) for wrong in (0, 0, 30))
    assert np.array_equal(one, again)
    assert np.abs(one - other).max() > 100
