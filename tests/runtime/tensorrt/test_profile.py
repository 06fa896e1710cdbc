"""The batch sizes of a plan are read, checked and written back."""

import pytest

from braintumor.errors import UsageError
from braintumor.runtime.tensorrt.profile import BatchProfile


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
