import pandas as pd
import pytest

from stages.core.launch.errors import InputError
from stages.core.task.labels import class_names, classes, from_zero

NAMES = ["no", "yes"]


def series(*labels: str) -> pd.Series:
    return pd.Series(labels, dtype=object)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["yes", "no", "", "yes"], ["no", "yes"]),
        (["10", "9", "1"], ["1", "9", "10"]),  # in numeric order
        (["10", "9", "x"], ["10", "9", "x"]),
        (["٣", "2"], ["2", "٣"]),
        (["²", "2"], ["2", "²"]),
        (["9" * 500, "1"], ["1", "9" * 500]),
        (["NaN", "None", "a|b", "`a`", "../../etc", "😀", "=cmd()"], None),
    ],
)
def test_the_classes_are_the_labels_in_order(labels: list[str], names: list[str] | None) -> None:
    assert class_names(series(*labels), None) == (names or sorted(labels))


def test_given_names_keep_their_order() -> None:
    assert class_names(series("no", "yes"), ["yes", "no", "maybe"]) == ["yes", "no", "maybe"]


@pytest.mark.parametrize("name", ["a\x07b", "\x1b[31mred", "a\u2028b", "a\nb", " "])
@pytest.mark.parametrize("given", [True, False])
def test_a_name_that_would_break_a_line_is_refused(name: str, given: bool) -> None:
    with pytest.raises(InputError, match=r"a label is called .*control characters; rename it"):
        class_names(series("ok", name), ["ok", name] if given else None)


@pytest.mark.parametrize("labels", [[], ["", ""], ["no", "no", ""]])
def test_one_class_is_no_classification(labels: list[str]) -> None:
    with pytest.raises(
        InputError,
        match=r"the corpus has (no labels|only the class 'no'); a classifier needs two classes or",
    ):
        class_names(series(*labels), None)


@pytest.mark.parametrize("labels", [("no", "yes", ""), ("0", "1", "")])
def test_labels_are_names_or_indices(labels: tuple[str, ...]) -> None:
    assert classes(series(*labels), NAMES, None).tolist() == [0, 1, pd.NA]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("no", "maybe"), "1 labels are not one of no, yes, the first is 'maybe'; set data.label"),
        (("no", "0"), "the first is '0'"),  # either names or indices
        (("no", "word " * 20_000), "the first is 'word"),
    ],
)
def test_an_unknown_label_is_named(labels: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        classes(series(*labels), NAMES, None)
    assert len(str(caught.value)) < 500


def test_many_names_are_shortened() -> None:
    names = [f"class {i}" for i in range(1000)]
    with pytest.raises(InputError, match=r"class 0, .*\[\.\.\.\], the first is '\?'"):
        classes(series("?"), names, None)


def test_the_sign_of_a_rating_is_its_class_and_weak_ones_have_none() -> None:
    ratings = series("-2.5", "3", "0.2", "-0.2", "", "0.5")
    assert classes(ratings, NAMES, 0.5).tolist() == [0, 1, pd.NA, pd.NA, pd.NA, 1]


@pytest.mark.parametrize("rating", ["good", "inf", "nan"])
def test_a_rating_that_is_no_number_is_named(rating: str) -> None:
    with pytest.raises(InputError, match=f"1 labels are not a number, the first is '{rating}'"):
        classes(series("1", rating), NAMES, 0.5)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["1", "", "3"], ["0", "", "2"]),
        (["0", "2", ""], ["0", "2", ""]),
        (["a", "c", "b"], ["a", "c", "b"]),
    ],
)
def test_labels_that_count_from_one_are_counted_from_zero(
    labels: list[str], expected: list[str]
) -> None:
    found, note = from_zero(pd.Series(labels), ["a", "b", "c"])
    assert found.tolist() == expected
    assert bool(note) is (labels != expected)


def test_labels_that_may_count_from_zero_or_one_are_refused() -> None:
    with pytest.raises(InputError, match=r"labels 1, 2 may count the 3 of data.label_names"):
        from_zero(pd.Series(["1", "2"]), ["a", "b", "c"])
