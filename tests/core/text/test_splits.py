from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.launch.errors import InputError
from stages.core.launch.inputs import DataConfig, Files
from stages.core.launch.parse import parse
from stages.core.launch.settings import Settings
from stages.core.text.splits import PRECEDENCE, claims, clean, sample, split
from tests.conftest import composed

FILES = [Path(name) for name in ("train.csv", "test.csv", "extra/more.csv")]


def patterns(**given: list[str]) -> Files:
    return Files(**({"train": ["*"], "validation": [], "test": [], "transfer": []} | given))


def test_train_takes_what_no_other_split_claims() -> None:
    found = claims(FILES, patterns(test=["test.*"], transfer=["extra/*"]))
    assert found == {
        "test": [FILES[1]],
        "validation": [],
        "train": [FILES[0]],
        "transfer": [FILES[2]],
    }


def test_a_pattern_that_matches_nothing_is_named() -> None:
    with pytest.raises(InputError, match=r"files.test = \['t.csv'\] matches nothing; there is tra"):
        claims(FILES, patterns(test=["t.csv"]))
    with pytest.raises(InputError, match="there is no text file"):
        claims([], patterns())


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
    cleaned = clean(table.assign(label=""))
    assert not cleaned["key"].duplicated().any()
    assert all(text == " ".join(text.split()) != "" for text in cleaned["text"])
    keys = table["text"].str.split().str.join(" ").str.casefold()
    for row in cleaned.itertuples():
        readings = table[keys == row.key].groupby("split")["class"].nunique()
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
    return parse(composed("data=local", "data.source.path=x"), Settings).data


@settings(deadline=None, max_examples=30)
@given(rows=st.integers(40, 300), classes=st.integers(2, 4))
def test_held_out_splits_have_their_share_of_every_class(
    data: DataConfig, rows: int, classes: int
) -> None:
    table = split(labelled(rows, classes), data, [f"class {i}" for i in range(classes)])
    assert table["text"].is_unique
    for name, share in (("test", data.test_share), ("validation", data.validation_share)):
        counts = table[table["split"] == name]["class"].value_counts()
        assert counts.sum() == round(share * rows)
        assert counts.max() - counts.min() <= 2


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (labelled(2), "2 labelled texts are too few for a test split of 15%"),
        (labelled(20, 20), r"too few for a test split .* \(.*\); add texts or enlarge data.test_"),
        (labelled(40, 2), "the train split has no text labelled third; add some"),
    ],
)
def test_a_split_that_lacks_a_class_is_named(
    data: DataConfig, table: pd.DataFrame, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        split(table, data, ["first", "second", "third"])
