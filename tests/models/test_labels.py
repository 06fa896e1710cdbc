import pytest
from hypothesis import given
from hypothesis import strategies as st

from braintumor.errors import UsageError
from braintumor.models.labels import CLASSES, canonical_label, class_permutation, parse_classes


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("notumor", "healthy"),
        ("no_tumor", "healthy"),
        ("No Tumor", "healthy"),
        ("no-tumor", "healthy"),
        (" normal ", "healthy"),
        ("no", "healthy"),
        ("Glioma", "glioma"),
        ("glioma_tumor", "glioma"),
        ("Meningioma Tumor", "meningioma"),
        ("pituitary_tumor", "pituitary"),
        ("metastasis", "metastasis"),
    ],
)
def test_canonical_label_knows_other_names(name: str, label: str):
    assert canonical_label(name) == label


def test_canonical_label_keeps_canonical_names():
    assert tuple(map(canonical_label, CLASSES)) == CLASSES


def test_parse_classes_takes_aliases_and_blanks():
    assert parse_classes("Pituitary, no tumor ,glioma_tumor,meningioma") == (
        "pituitary",
        "healthy",
        "glioma",
        "meningioma",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 different names of 0"),
        ("glioma", "1 different names of 1"),
        ("glioma,no,normal", "2 different names of 3"),
    ],
)
def test_parse_classes_refuses_fewer_than_two_or_equal_names(text: str, message: str):
    with pytest.raises(UsageError, match=message):
        parse_classes(text)


def test_parse_classes_refuses_a_name_that_commands_the_terminal():
    with pytest.raises(UsageError, match="is not printable"):
        parse_classes("healthy,a\x1b[2J", new=True)


def test_parse_classes_takes_two_or_more_names():
    assert parse_classes("no_tumor,Glioma") == ("healthy", "glioma")
    assert parse_classes("a,b,c,d,e,glioma", new=True) == ("a", "b", "c", "d", "e", "glioma")


def test_parse_classes_knows_the_order_of_the_public_folders():
    # As flow_from_directory and image_dataset_from_directory number them: sorted.
    folders = sorted(["pituitary", "notumor", "glioma", "meningioma"])
    assert parse_classes("kaggle") == tuple(map(canonical_label, folders))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("meningoma", "meningoma: did you mean meningioma?"),
        ("Pitutary", "pitutary: did you mean pituitary?"),
        ("no_tumour", "no_tumour: did you mean no_tumor (healthy)?"),
        ("tumour", "tumour is not a known class"),
        ("metastasis", "metastasis is not a known class"),
    ],
)
def test_parse_classes_suggests_a_known_name(name: str, words: str):
    text = f"glioma,{name},a,healthy"
    with pytest.raises(UsageError) as refused:
        parse_classes(text)
    assert words in str(refused.value)
    assert "; a is not a known class" in str(refused.value)
    assert "new_classes" in refused.value.remedy
    assert parse_classes(text, new=True) == ("glioma", name.lower(), "a", "healthy")


@given(st.permutations(CLASSES), st.permutations(CLASSES))
def test_class_permutation_brings_outputs_to_their_names(source: list[str], target: list[str]):
    permutation = class_permutation(source, target)
    assert [source[index] for index in permutation] == target


@given(st.permutations(CLASSES), st.permutations(CLASSES))
def test_class_permutation_is_undone_by_its_inverse(source: list[str], target: list[str]):
    there, back = class_permutation(source, target), class_permutation(target, source)
    assert [there[index] for index in back] == list(range(len(CLASSES)))


def test_class_permutation_refuses_other_classes():
    with pytest.raises(UsageError, match=r"a,b,c,d .* glioma,healthy"):
        class_permutation(("a", "b", "c", "d"), CLASSES)
