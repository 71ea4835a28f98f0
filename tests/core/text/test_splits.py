import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.launch.errors import InputError
from stages.core.launch.inputs import DataConfig
from stages.core.text.splits import PRECEDENCE, clean, sample, small_classes, split
from tests.conftest import configured


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(PRECEDENCE),
            st.sampled_from(["one", "One ", " two\t", "two", "", "a\u2028b\x85c", "\u00a0\u3000"]),
            st.sampled_from([0, 1, None]),
        )
    )
)
def test_cleaning_leaves_every_text_once_in_its_first_split(rows: list) -> None:
    table = pd.DataFrame(rows, columns=["split", "text", "class"]).astype({"class": "Int64"})
    table.loc[table["split"] == "transfer", "class"] = pd.NA
    cleaned, dropped = clean(table)
    assert len(cleaned) + sum(dropped.values()) == len(table)
    keys = table["text"].str.split().str.join(" ").str.casefold()
    left = cleaned["text"].str.split().str.join(" ").str.casefold()
    assert not left.duplicated().any()
    assert dropped["empty"] == (keys == "").sum()
    assert {*cleaned["text"]} <= {*table["text"]}  # as they were, white space included
    for row, key in zip(cleaned.itertuples(), left, strict=True):
        readings = table[keys == key].groupby("split")["class"].nunique()
        clear = [split for split in PRECEDENCE if readings.get(split, 2) <= 1]
        assert row.split == clear[0]


def labelled(rows: int, classes: int = 2, name: str = "train") -> pd.DataFrame:
    table = pd.DataFrame({"text": [f"text {i}" for i in range(rows)], "split": name})
    return table.assign(**{"class": [i % classes for i in range(rows)]})


def test_a_sample_limits_every_split_that_the_files_give() -> None:
    table = pd.concat([labelled(100), labelled(10, name="test")], ignore_index=True)
    sampled = sample(table, 40, seed=13)
    assert sampled["split"].value_counts().to_dict() == {"train": 40, "test": 10}
    assert sampled.equals(sample(table, 40, seed=13))
    assert not sampled.equals(sample(table, 40, seed=14))


@pytest.fixture(scope="module")
def data() -> DataConfig:
    return configured("data=local", "data.source.path=x").data


@settings(deadline=None, max_examples=60)
@given(sizes=st.lists(st.integers(3, 120), min_size=2, max_size=12))
def test_held_out_splits_have_their_share_and_a_text_of_every_class(
    data: DataConfig, sizes: list[int]
) -> None:
    classes = [number for number, size in enumerate(sizes) for _ in range(size)]
    table = labelled(sum(sizes)).assign(**{"class": classes})
    try:
        table = split(table, data, set())
    except InputError as error:
        if "no text left to train on" not in str(error):
            assert "are too few for a" in str(error)  # noqa: PT017
            assert sum(sizes) < 10 * len(sizes)
        return
    assert {*table[table["split"] == "train"]["class"]} == {*range(len(sizes))}
    assert table["text"].is_unique
    for name, share in (("test", data.test_share), ("validation", data.validation_share)):
        counts = table[table["split"] == name]["class"].value_counts()
        assert {*counts.index} == {*range(len(sizes))}
        wanted = max(len(sizes), round(share * sum(sizes)))
        assert wanted <= counts.sum() <= wanted + len(sizes)
        for number, size in enumerate(sizes):
            assert counts[number] <= max(2, share * size + 2)


def test_every_class_that_is_too_small_is_named_with_what_it_has(data: DataConfig) -> None:
    table = labelled(60, 3).assign(**{"class": [0] * 40 + [1] * 18 + [2] * 2})
    names = ["first", "second", "third", "fourth"]
    assert small_classes(table, data, names, set()) == {
        "third": "2 in train",
        "fourth": "0 in train",
    }
    table.loc[[0, 1, 58, 59], "split"] = "test"
    assert small_classes(table, data, names[:3], {"test"}) == {
        "second": "18 in train, 0 in test",
        "third": "0 in train, 2 in test",
    }


def test_two_texts_can_not_be_split(data: DataConfig) -> None:
    with pytest.raises(InputError, match="2 labelled texts are too few for a test split of 15%"):
        split(labelled(2), data, set())


def test_a_class_that_the_shares_leave_nothing_of_is_refused(data: DataConfig) -> None:
    table = labelled(204).assign(**{"class": [0] * 100 + [1] * 100 + [2] * 4})
    large = data.model_copy(update={"test_share": 0.4, "validation_share": 0.4})
    with pytest.raises(InputError, match=r"1 classes have no text left .*; lower data.test_share"):
        split(table, large, set())
