"""Which file goes to which split: by patterns, by its name, or told to be unclear."""

from pathlib import Path

import pytest

from stages.core.launch.errors import InputError
from stages.core.launch.inputs import Files
from stages.core.text.files import claims, named_split, text_files


def patterns(**given: list[str]) -> Files:
    return Files(**dict.fromkeys(("train", "validation", "test", "transfer")) | given)


def claimed(names: list[str], **given: list[str]) -> dict[str, str]:
    found = claims([Path(name) for name in names], patterns(**given))
    return {str(file): split for split, files in found.items() for file in files}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.csv", "train"),
        ("Test.CSV.gz", "test"),
        ("sst2_dev.tsv", "validation"),
        ("TestData2.csv", "test"),
        ("testdata.manual.2009.06.14.csv", "test"),
        ("traindata.csv", "train"),
        ("validate.csv", "validation"),
        ("holdout/a.csv", "test"),
        ("IMDBTrain.csv", "train"),
        ("SSTDev.csv", "validation"),
        ("testset.csv", "test"),
        ("data/train-00000-of-00002.parquet", "train"),
        ("data/validation-00000-of-00001-abc.parquet", "validation"),
        ("eval/reviews.jsonl", "test"),
        ("test/train.csv", "train"),
        ("train/unsup/7_0.txt", "transfer"),
        ("unlabelled.csv", "transfer"),
        ("reviews.csv", None),
        ("latest.csv", None),
        ("contest/evaluated.csv", None),
    ],
)
def test_a_name_says_the_split_by_a_whole_word(name: str, split: str | None) -> None:
    assert named_split(Path(name)) == split


def test_a_name_of_two_splits_is_told() -> None:
    with pytest.raises(InputError, match=r"train_test.csv is named after two splits, test and tr"):
        named_split(Path("train_test.csv"))


def test_train_takes_what_no_other_split_claims() -> None:
    assert claimed(["a.csv", "dev.csv", "test.csv", "extra/b.csv"]) == {
        "a.csv": "train",
        "dev.csv": "validation",
        "test.csv": "test",
        "extra/b.csv": "train",
    }


def test_patterns_come_first_and_an_empty_list_takes_no_file() -> None:
    names = ["train.csv", "dev.csv", "test.csv", "extra.csv"]
    assert claimed(names, test=["dev.*"], validation=[], transfer=["extra*"]) == {
        "train.csv": "train",
        "dev.csv": "test",
        "extra.csv": "transfer",
    }, "test.csv is left out: the patterns of test don't claim it, and train must not"


def test_a_single_file_is_trains_whatever_its_name() -> None:
    assert claimed(["test.csv"]) == {"test.csv": "train"}


def test_patterns_of_train_leave_the_rest_out() -> None:
    assert claimed(["a.csv", "b.csv"], train=["a.*"]) == {"a.csv": "train"}


def test_a_pattern_that_matches_nothing_is_named() -> None:
    with pytest.raises(InputError, match=r"files.test = \['t.csv'\] matches nothing; there is a.c"):
        claimed(["a.csv", "b.csv"], test=["t.csv"])
    with pytest.raises(InputError, match="there is no text file"):
        claimed([], test=["t.csv"])
    with pytest.raises(InputError, match=r"no file is left to train on: dev.csv, test.csv; se"):
        claimed(["dev.csv", "test.csv"])


def test_hidden_files_and_the_librarys_caches_are_no_tables(tmp_path: Path) -> None:
    names = [".git/a.csv", "__MACOSX/._a.csv", "~$a.csv", "a/.ipynb_checkpoints/a-checkpoint.csv"]
    names += ["cache-1.arrow", "notes.md", "b.json", "a.parquet.gz", "a.xlsx"]
    tables = ["a.csv", "b/B.CSV", "c.jsonl.gz", "data-00000-of-00001.arrow"]
    for name in (*names, *tables):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found, others = text_files(tmp_path)
    assert [*map(str, found)] == sorted(tables)
    assert sorted(map(str, others)) == sorted(names)
