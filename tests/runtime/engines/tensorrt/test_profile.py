"""The batch sizes of a plan are read, checked and written back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braintumor.errors import UsageError
from braintumor.runtime.engines.tensorrt.profile import DEFAULT_PROFILE, BatchProfile, batch_sizes, chunks


@pytest.mark.parametrize("text", ["1,8,32", " 1, 8 ,32", "4,4,4"])
def test_parse_reads_what_str_gives(text: str) -> None:
    profile = BatchProfile.parse(text)
    assert BatchProfile.parse(str(profile)) == profile


@pytest.mark.parametrize(
    "text", ["", "1,8", "1,8,32,64", "1,x,32", "-1,8,32", "0,8,32", "8,1,32", "1,32,8", "1,²,32"]
)
def test_parse_refuses_other_texts(text: str) -> None:
    with pytest.raises(UsageError, match="1,8,32"):
        BatchProfile.parse(text)


def test_holds_includes_both_ends() -> None:
    profile = BatchProfile.parse("2,8,32")
    assert [profile.holds(batch) for batch in (1, 2, 32, 33)] == [False, True, True, False]


def test_batch_sizes_are_few_and_hold_the_profile() -> None:
    assert batch_sizes(DEFAULT_PROFILE) == (1, 2, 4, 8, 16, 32)
    assert batch_sizes(BatchProfile(3, 10, 24)) == (3, 4, 8, 10, 16, 24)
    assert batch_sizes(BatchProfile(4, 4, 4)) == (4,)


@given(
    st.integers(0, 300),
    st.lists(st.integers(1, 64), min_size=3, max_size=3).map(sorted).map(lambda s: BatchProfile(*s)),
)
def test_chunks_hold_every_image_once_in_a_size_of_the_plan(batch: int, profile: BatchProfile) -> None:
    cut = list(chunks(batch, profile))
    covered = [index for chunk in cut for index in range(chunk.start, chunk.start + chunk.count)]
    assert covered == list(range(batch))
    for chunk in cut:
        assert profile.holds(chunk.batch_size)
        assert chunk.batch_size in batch_sizes(profile)
        assert chunk.count <= chunk.batch_size < 2 * max(chunk.count, profile.smallest)
