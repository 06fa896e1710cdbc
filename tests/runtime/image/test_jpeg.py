"""JPEG scans: those of the picture count, those of a thumbnail do not."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from braintumor.errors import InputError
from braintumor.runtime.image.decode import read_grey
from braintumor.runtime.image.jpeg import MAX_SCANS, check_scans


def progressive(extra_scans: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (64, 64)).save(file, "JPEG", progressive=True, quality=50)
    data = file.getvalue()
    return data[:-2] + data[data.rfind(b"\xff\xda") : -2] * extra_scans + b"\xff\xd9"


def test_read_grey_reads_scans_up_to_the_limit() -> None:
    own = progressive(0).count(b"\xff\xda")
    assert read_grey(progressive(MAX_SCANS - own)).pixels.shape == (64, 64)
    with pytest.raises(InputError, match=f"of {MAX_SCANS + 1} scans"):
        read_grey(progressive(MAX_SCANS - own + 1))


def test_check_scans_allows_fewer_for_a_very_large_picture() -> None:
    check_scans(progressive(20), 64 * 64)
    with pytest.raises(InputError, match="the limit for its 88,360,000 pixels is 24"):
        check_scans(progressive(20), 9400 * 9400)


def test_read_grey_does_not_count_what_looks_like_scans_elsewhere() -> None:
    data = progressive(0)
    comment = b"\xff\xda" * 200
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2) + comment
    result = read_grey(data[:2] + segment + data[2:])
    assert np.array_equal(result.pixels, read_grey(data).pixels)


def encoded(levels: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 3}])
@pytest.mark.parametrize("channels", [1, 3])
def test_read_grey_refuses_a_jpeg_whose_data_end_early(options: dict[str, Any], channels: int) -> None:
    levels = np.random.default_rng(3).integers(0, 256, (72, 65, channels), dtype=np.uint8)
    data = encoded(levels[..., 0] if channels == 1 else levels, **options)
    assert read_grey(data).pixels.shape == (72, 65)
    start = data.index(b"\xff\xda") + 20
    for share in (0.1, 0.5, 0.9):
        cut = int(start + share * (len(data) - start))
        with pytest.raises(InputError, match=r"damaged"):
            read_grey(data[:cut].rstrip(b"\xff") + b"\xff\xd9")


@pytest.mark.parametrize("quality", [5, 75, 100])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (17, 130)])
def test_read_grey_reads_whole_jpegs_of_every_kind(size: tuple[int, int], quality: int) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    for levels in (noise, noise[..., 0], np.zeros_like(noise), noise // 128 * 255):
        for options in ({}, {"progressive": True}, {"optimize": True}, {"restart_marker_rows": 1}):
            assert read_grey(encoded(levels, quality=quality, **options)).pixels.shape == size
