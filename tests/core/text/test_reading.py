"""Corpora as people have them: each is read right, or refused in one sentence."""

import csv
import gzip
import io
import json
import tempfile
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.launch.errors import InputError
from stages.core.launch.inputs import DataConfig
from stages.core.launch.parse import parse
from stages.core.launch.settings import Settings
from stages.core.text.reading import read_corpus
from stages.prepare import prepared
from tests.conftest import composed, make_texts

LOCAL = composed("data=local", "data.source.path=x", "model=local", "model.source.path=y")


def data(**given: Any) -> DataConfig:
    config = deepcopy(LOCAL)
    for key, value in given.items():
        if key == "files":
            config.data.files.update(value)
        else:
            config.data[key] = value
    return parse(config, Settings).data


def labels(root: Path, **given: Any) -> dict[str, dict[str, str]]:
    """Return the label of every text by split, and that of an unlabelled one as ""."""
    corpus, _ = prepared(root, data(**given))
    found = {}
    for split, texts in corpus.items():
        known = texts.features.get("label")
        names = known.int2str(texts["label"][:]) if known else [""] * len(texts)
        found[split] = dict(zip(texts["text"][:], names, strict=True))
    return found


def write(root: Path, name: str, table: pd.DataFrame) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(root / name, index=False)


def test_minus_one_is_a_class_if_train_files_have_others(tmp_path: Path) -> None:
    texts = make_texts(80)
    for name, value in (("neg", -1), ("pos", 1)):
        half = texts[texts["label"].str.startswith(name)].assign(label=value)
        write(tmp_path, f"{name}.csv", half)
    assert {*labels(tmp_path)["train"].values()} == {"-1", "1"}


def test_patterns_tell_apart_files_in_a_directory_that_is_named_after_two_splits(
    tmp_path: Path,
) -> None:
    write(tmp_path, "train_test/a.csv", make_texts(60))
    write(tmp_path, "train_test/b.csv", make_texts(40, seed=5))
    _, facts = prepared(tmp_path, data(files={"train": ["a.csv"], "test": ["b.csv"]}))
    assert {"test is train_test/b.csv", "train is train_test/a.csv"} <= {*facts["notes"]}


def test_train_and_test_files_stay_apart_and_it_is_noted(tmp_path: Path) -> None:
    write(tmp_path, "train.csv", make_texts(60))
    write(tmp_path, "test.csv", make_texts(40, seed=5))
    _, facts = prepared(tmp_path, data())
    assert {"test is test.csv", "train is train.csv"} <= {*facts["notes"]}
    assert labels(tmp_path)["test"].keys() == {*make_texts(40, seed=5)["text"]}


@pytest.mark.parametrize("label", ["-1", "", None])
def test_a_test_split_without_labels_is_refused_by_name(tmp_path: Path, label: str | None) -> None:
    write(tmp_path, "train.csv", make_texts(60))
    test = make_texts(40, seed=5)
    write(tmp_path, "test.csv", test.assign(label=label) if label is not None else test[["text"]])
    with pytest.raises(InputError, match=r"^test.csv, of the test split, has no labels .*set data"):
        prepared(tmp_path, data())
    # What the message says to do.
    found = labels(tmp_path, files={"test": [], "transfer": ["test.csv"]})
    assert not found["test"].keys() & {*test["text"]}
    assert found["transfer"].keys() == {*test["text"]} - {*make_texts(60)["text"]}


def test_some_without_a_label_are_counted_transfer_texts(tmp_path: Path) -> None:
    table = make_texts(60)
    table.loc[:4, "label"] = None
    write(tmp_path, "a.csv", table)
    _, facts = prepared(tmp_path, data())
    assert facts["texts"]["unlabelled"] == 5
    assert "5 texts without a label join the transfer texts" in facts["notes"]


def test_what_is_dropped_is_counted_by_reason(tmp_path: Path) -> None:
    table = make_texts(60)
    twins = pd.DataFrame(
        {
            "text": ["Twin", "twin ", "same", "SAME", " "],
            "label": ["positive", "negative", "positive", "positive", "positive"],
        }
    )
    write(tmp_path, "a.csv", pd.concat([table, twins]))
    _, facts = prepared(tmp_path, data())
    assert facts["texts"] == {
        **{"read": 65, "unlabelled": 0, "empty": 1, "contradictory": 2, "duplicate": 1},
        "of_small_classes": 0,
    }
    assert {"dropped 2 contradictory texts", "dropped 1 duplicate texts"} <= {*facts["notes"]}


def test_a_readme_beside_the_tables_is_left_out_and_noted(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", make_texts(60))
    for name in ("README.txt", "train/README.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("These are my texts.\n")
    (tmp_path / "classes.txt").write_text("negative\npositive\n")
    _, facts = prepared(tmp_path, data())
    assert "left out (3): README.txt, classes.txt, train/README.txt" in facts["notes"]
    assert facts["texts"]["read"] == 60


def test_a_file_of_a_split_in_another_encoding_is_not_taken_for_a_readme(tmp_path: Path) -> None:
    write(tmp_path, "train.txt", make_texts(60))
    (tmp_path / "test.txt").write_bytes("text\tlabel\nun café\tpositive\n".encode("cp1252"))
    with pytest.raises(InputError, match=r"^test.txt is not in utf-8 .*data.encoding=cp1252"):
        prepared(tmp_path, data())


def test_a_table_of_something_else_can_be_left_out(tmp_path: Path) -> None:
    write(tmp_path, "train.csv", make_texts(60))
    (tmp_path / "sample_submission.csv").write_text("id,target\n0,1\n")
    with pytest.raises(InputError, match=r"but has id, target; .*in data.files.train the files"):
        prepared(tmp_path, data())
    _, facts = prepared(tmp_path, data(files={"train": ["train.csv"]}))
    assert "left out (1): sample_submission.csv" in facts["notes"]


def test_a_text_a_file_in_a_directory_a_label(tmp_path: Path) -> None:
    """As in aclImdb."""
    table = make_texts(60)
    for number, (text, label) in enumerate(table.to_numpy()):
        split = "test" if number % 3 == 0 else "train"
        title = f"{number} on a dev server" if number % 3 == 1 else f"{number}_7"
        file = tmp_path / "aclImdb" / split / label[:3] / f"{title}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\nand more\n")
    for name in ("train/unsup/1_0.txt", "train/urls_pos.txt"):
        (tmp_path / "aclImdb" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "aclImdb" / name).write_text("what is this\n")
    found = labels(tmp_path)
    assert found["test"] == {
        f"{text}\nand more": label[:3] for text, label in table[::3].to_numpy()
    }
    assert found["transfer"] == {"what is this": ""}
    _, facts = prepared(tmp_path, data())
    assert "left out (1): aclImdb/train/urls_pos.txt" in facts["notes"]


def test_a_directory_of_save_to_disk_and_its_class_names(tmp_path: Path) -> None:
    table = make_texts(60)
    names = ["negative", "positive"]
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    rows = Dataset.from_dict(
        {"text": table["text"], "label": table["label"].map(names.index)}, features
    )
    DatasetDict({"train": rows.select(range(40)), "test": rows.select(range(40, 60))}).save_to_disk(
        tmp_path
    )
    found = labels(tmp_path)
    assert found["test"] == dict(table[40:].to_numpy())
    assert found["train"].items() <= dict(table[:40].to_numpy()).items()
    rows.to_parquet(tmp_path / "only" / "a.parquet")
    assert {*labels(tmp_path / "only")["test"].values()} == {*names}


@pytest.mark.parametrize(
    ("written", "read", "note"),
    [
        (["0.0", "1.0"], ["0", "1"], "labels such as '0.0' are read without their fraction"),
        (["Yes", "yes"], ["Yes", "yes"], "the classes 'Yes' and 'yes' differ in case"),
        (["0.5", "1.0"], ["0.5", "1.0"], None),
    ],
)
def test_odd_labels_are_noted(
    tmp_path: Path, written: list[str], read: list[str], note: str | None
) -> None:
    table = make_texts(60)
    write(tmp_path, "a.csv", table.assign(label=[written[number % 2] for number in range(60)]))
    corpus, facts = prepared(tmp_path, data())
    assert corpus["train"].features["label"].names == read
    assert [each for each in facts["notes"] if note and each.startswith(note)] or note is None


TAIL = {"large": 100, "middle": 30, "small": 2, "single": 1}


def tail(root: Path) -> None:
    rows = [(f"{name} {number}", name) for name, size in TAIL.items() for number in range(size)]
    write(root, "a.csv", pd.DataFrame(rows, columns=["text", "label"]))


def test_small_classes_are_all_named_at_once(tmp_path: Path) -> None:
    tail(tmp_path)
    with pytest.raises(InputError, match=r"2 of 4 classes have too .*'single' .1 in train., 'sm"):
        prepared(tmp_path, data())


@pytest.mark.parametrize(
    ("how", "names"), [("drop", ["large", "middle"]), ("merge", ["large", "middle", "other"])]
)
def test_small_classes_can_be_dropped_or_merged(tmp_path: Path, how: str, names: list[str]) -> None:
    tail(tmp_path)
    corpus, facts = prepared(tmp_path, data(small_classes=how))
    assert corpus["train"].features["label"].names == names
    assert facts["texts"]["of_small_classes"] == (3 if how == "drop" else 0)
    assert any(note.startswith("2 small classes were") for note in facts["notes"])
    assert sum(map(len, corpus.values())) == (130 if how == "drop" else 133)


def test_two_classes_are_needed_after_dropping_too(tmp_path: Path) -> None:
    tail(tmp_path)
    with pytest.raises(InputError, match="small_classes=drop does not help; add texts"):
        prepared(tmp_path, data(small_classes="drop", min_texts=50))


# Generated corpora: whatever the file, the result is right or a sentence says what to do.

WORDS = st.lists(
    st.sampled_from(
        ["good", "bad", "a, b", "c; d", "e\tf", 'g "h"', "café", "’", "i\nj", "NA", "1.0"]
    ),
    min_size=1,
    max_size=4,
).map(" ".join)
KINDS = {
    "words": ("no", "yes"),
    "case": ("No", "no"),
    "numbers": ("0", "1"),
    "floats": ("0.0", "1.0"),
    "spaces": (" no", "yes "),
    "missing": ("no", "yes", ""),
    "unlabelled": ("-1",),
    "one class": ("yes",),
}
ENCODINGS = ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le"]


@st.composite
def corpora(draw: st.DrawFn) -> tuple[bytes, str, dict[str, Any], list[tuple[str, str]], bool]:
    """Return a file, its suffix, settings, its rows and whether the settings are those of it."""
    kind = draw(st.sampled_from([*KINDS]))
    texts = draw(st.lists(WORDS, min_size=1, max_size=30, unique_by=lambda text: text.casefold()))
    rows = [(f"{text} {n}", KINDS[kind][n % len(KINDS[kind])]) for n, text in enumerate(texts)]
    suffix = draw(st.sampled_from([".csv", ".tsv", ".txt", ".jsonl", ".parquet"]))
    told = draw(st.booleans())
    given: dict[str, Any] = {}
    if suffix == ".parquet":
        return pd.DataFrame(rows, columns=["text", "label"]).to_parquet(), suffix, {}, rows, True
    encoding = draw(st.sampled_from(ENCODINGS))
    if suffix == ".jsonl":
        content = "".join(
            json.dumps({"text": a, "label": b}, ensure_ascii=False) + "\n" for a, b in rows
        )
    else:
        separator = draw(st.sampled_from(",;\t|"))
        escaped = draw(st.booleans())
        out = io.StringIO()
        writer = csv.writer(
            out,
            delimiter=separator,
            quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
            doublequote=not escaped,
            escapechar="\\" if escaped else None,
            lineterminator=draw(st.sampled_from(["\n", "\r\n"])),
        )
        writer.writerows([("text", "label"), *rows])
        content = out.getvalue()
        given = {"separator": separator, "quote": '"', "escape": "\\" if escaped else None}
    given |= {"encoding": encoding}
    file = content.encode(encoding)
    if draw(st.booleans()):
        return gzip.compress(file), f"{suffix}.gz", given if told else {}, rows, told
    return file, suffix, given if told else {}, rows, told


DEFAULTS = data()


@settings(deadline=None, max_examples=250)
@given(corpora())
def test_a_corpus_is_read_right_or_refused_in_one_sentence(
    corpus: tuple[bytes, str, dict[str, Any], list[tuple[str, str]], bool],
) -> None:
    content, suffix, given, rows, told = corpus
    how = DEFAULTS.model_copy(update=given)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / f"mine{suffix}").write_bytes(content)
        try:
            table, _, _ = read_corpus(root, how)
        except InputError as error:
            assert len(str(error)) < 500  # noqa: PT017
            assert not told or {label for _, label in rows} == {"-1"}
            return
        found = list(table[["text", "label"]].itertuples(index=False, name=None))
        assert found == [(text, label.strip()) for text, label in rows]
        with suppress(InputError):  # too few for the splits
            prepared(root, how)
