"""The batch sizes of a plan are read, checked and written back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braintumor.errors import UsageError
from braintumor.runtime.engines.tensorrt.profile import DEFAULT_PROFILE, BatchProfile, ladder, parts


@pytest.mark.parametrize("text", ["1,8,32", " 1, 8 ,32", "4,4,4"])
def test_a_profile_is_written_as_it_is_read(text: str) -> None:
    profile = BatchProfile.parse(text)
    assert BatchProfile.parse(str(profile)) == profile


@pytest.mark.parametrize(
    "text", ["", "1,8", "1,8,32,64", "1,x,32", "-1,8,32", "0,8,32", "8,1,32", "1,32,8", "1,²,32"]
)
def test_other_texts_are_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(UsageError, match="write 1,8,32"):
        BatchProfile.parse(text)


def test_the_ends_belong_to_the_profile() -> None:
    profile = BatchProfile.parse("2,8,32")
    assert [profile.holds(batch) for batch in (1, 2, 32, 33)] == [False, True, True, False]


def test_few_sizes_are_really_run_and_the_profile_s_own_are_among_them() -> None:
    assert ladder(DEFAULT_PROFILE) == (1, 2, 4, 8, 16, 32)
    assert ladder(BatchProfile(3, 10, 24)) == (3, 4, 8, 10, 16, 24)
    assert ladder(BatchProfile(4, 4, 4)) == (4,)


@given(
    st.integers(0, 300),
    st.lists(st.integers(1, 64), min_size=3, max_size=3).map(sorted).map(lambda s: BatchProfile(*s)),
)
def test_every_image_goes_through_once_in_a_size_that_the_plan_runs(batch: int, profile: BatchProfile) -> None:
    found = list(parts(batch, profile))
    covered = [index for part in found for index in range(part.start, part.start + part.count)]
    assert covered == list(range(batch))
    for part in found:
        assert profile.holds(part.rung)
        assert part.rung in ladder(profile)
        assert part.count <= part.rung < 2 * max(part.count, profile.smallest)
