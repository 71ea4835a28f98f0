import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.launch.errors import InputError
from stages.core.launch.paths import CORPUS
from stages.core.text.corpus import load_corpus, read_table
from stages.prepare import PRECEDENCE, clean
from tests.conftest import make_texts


def prepare(run: Callable, tables: dict[str, pd.DataFrame | str], *overrides: str) -> None:
    """Fetch the toy encoder and the given files, then prepare them."""
    texts = Path("mine")
    texts.mkdir(exist_ok=True)
    for name, table in tables.items():
        if isinstance(table, str):
            (texts / name).write_text(table, encoding="utf-8")
        elif name.endswith(".parquet"):
            table.to_parquet(texts / name)
        elif name.endswith(".jsonl"):
            table.to_json(texts / name, orient="records", lines=True)
        else:
            table.to_csv(texts / name, sep="\t" if name.endswith("tsv") else ",", index=False)
    source = ["data.source.path=mine", "data.files.transfer=[]", *overrides]
    run("fetch", "fetch.item=encoder")
    run("fetch", "fetch.item=corpus", *source)
    run("prepare", *source)


def test_no_text_stands_in_two_splits(project: Callable) -> None:
    corpus = load_corpus()
    texts = [text.casefold() for split in corpus.values() for text in split["text"]]
    assert len(texts) == len(set(texts))
    assert {name: split.num_rows for name, split in corpus.items()} == {
        "train": 180,
        "validation": 24,
        "test": 36,
        "transfer": 60,
    }


def test_labels_are_balanced_alike_and_the_statistics_say_so(project: Callable) -> None:
    statistics = json.loads(Path("reports/data.json").read_text())
    for split in ("train", "validation", "test"):
        assert statistics[split]["share_positive"] == pytest.approx(0.5, abs=0.03)
        assert 6 <= statistics[split]["tokens_p50"] <= statistics[split]["tokens_max"] <= 15
    assert statistics["transfer"]["rows"] == 60


def test_the_same_seed_gives_the_same_bytes(project: Callable) -> None:
    before = {path: path.read_bytes() for path in CORPUS.rglob("*") if path.is_file()}
    project("prepare")
    assert before == {path: path.read_bytes() for path in CORPUS.rglob("*") if path.is_file()}
    test = load_corpus()["test"]["text"][:]
    project("prepare", "data.seed=99")
    assert load_corpus()["test"]["text"][:] != test


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_gives_the_same_corpus(empty: Callable, suffix: str) -> None:
    table = make_texts(60)
    prepare(empty, {f"texts.{suffix}": table})
    corpus = load_corpus()
    texts = {
        text: split.features["label"].int2str(label)
        for name, split in corpus.items()
        if name != "transfer"
        for text, label in zip(split["text"], split["label"], strict=True)
    }
    assert texts == dict(zip(table["text"], table["label"], strict=True))


def test_given_splits_are_kept_and_win_over_train(empty: Callable) -> None:
    table = make_texts(80)
    files = {"train.csv": table, "test.csv": table[:20], "validation.csv": table[10:30]}
    prepare(empty, files, "data.files.test=[test.csv]", "data.files.validation=[validation.csv]")
    corpus = load_corpus()
    assert set(corpus["test"]["text"]) == set(table["text"][:20])
    assert set(corpus["validation"]["text"]) == set(table["text"][20:30])
    assert set(corpus["train"]["text"]) == set(table["text"][30:])


def test_integers_with_a_gap_are_classes_and_transfer_text(empty: Callable) -> None:
    table = make_texts(60).assign(label=[(0, 1, None)[i % 3] for i in range(60)])
    prepare(empty, {"texts.parquet": table}, "data.label_names=[no,yes]")
    corpus = load_corpus()
    assert set(corpus["transfer"]["text"]) == set(table.loc[table["label"].isna(), "text"])
    assert set(corpus["train"]["label"]) == {0, 1}


def test_three_classes_and_other_columns(empty: Callable) -> None:
    table = make_texts(90).rename(columns={"text": "sentence", "label": "mood"})
    table["mood"] = [("bad", "so-so", "good")[i % 3] for i in range(90)]
    names = "data.label_names=[bad,so-so,good]"
    prepare(empty, {"texts.csv": table}, "data.text=sentence", "data.label=mood", names)
    assert load_corpus()["train"].features["label"].names == ["bad", "so-so", "good"]


def test_ratings_become_classes_and_weak_ones_transfer_text(empty: Callable) -> None:
    table = make_texts(60)
    table["label"] = [(-2.5, 3.0, 0.2, -0.2)[i % 4] for i in range(60)]
    options = ["data.rating_threshold=0.5", "data.label_names=[negative,positive]"]
    prepare(empty, {"texts.csv": table}, *options)
    corpus = load_corpus()
    weak = table.loc[table["label"].abs() < 0.5, "text"]
    assert set(corpus["transfer"]["text"]) == set(weak)
    positive = {
        text
        for name in ("train", "validation", "test")
        for text, label in zip(corpus[name]["text"], corpus[name]["label"], strict=True)
        if label == 1
    }
    assert positive == set(table.loc[table["label"] > 0.5, "text"])


def test_the_share_of_the_texts_that_are_cut_is_told(project: Callable) -> None:
    assert "cut" not in project("prepare")
    told = project("prepare", "model.max_length=10")
    assert "; longer than model.max_length = 10 tokens, and so cut: " in told
    for split, row in json.loads(Path("reports/data.json").read_text()).items():
        assert f"{row['cut_share']:.2%} of {split}" in told


def test_max_texts_takes_a_sample(empty: Callable) -> None:
    prepare(empty, {"texts.csv": make_texts(100)}, "data.max_texts=40")
    corpus = load_corpus()
    assert sum(corpus[name].num_rows for name in ("train", "validation", "test")) == 40


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(PRECEDENCE),
            st.sampled_from(["one", "One ", " two\t", "two", "", "three"]),
            st.sampled_from([0, 1, None]),
        )
    )
)
def test_cleaning_leaves_every_text_once_in_its_first_split(rows: list) -> None:
    table = pd.DataFrame(rows, columns=["split", "text", "class"]).astype({"class": "Int64"})
    table.loc[table["split"] == "transfer", "class"] = pd.NA
    cleaned = clean(table.assign(label=""))
    assert not cleaned["key"].duplicated().any()
    assert (cleaned["text"] != "").all()
    assert (cleaned["text"] == cleaned["text"].str.strip()).all()
    for row in cleaned.itertuples():
        same = table[table["text"].str.strip().str.casefold() == row.key]
        readings = same.groupby("split")["class"].nunique()
        clear = [split for split in PRECEDENCE if readings.get(split, 2) <= 1]
        assert row.split == clear[0]


ROWS = "text,label\n" + "\n".join(f"a film {i},{i % 2}" for i in range(40))
BAD: list[tuple[str, dict[str, pd.DataFrame | str], list[str], str]] = [
    ("empty file", {"a.csv": ""}, [], "a.csv holds no rows"),
    ("header only", {"a.csv": "text,label\n"}, [], "a.csv holds no rows"),
    ("one class", {"a.csv": "text,label\ngood film,1\nfine film,1\n"}, [], "one class"),
    ("two rows", {"a.csv": "text,label\ngood,1\nbad,0\n"}, [], "too few for a test split"),
    ("numbers", {"a.csv": "text,label\n1,1\n2,0\n"}, [], "holds numbers, not texts"),
    ("numbers and a blank", {"a.csv": "text,label\n1,1\n,0\n"}, [], "holds numbers, not texts"),
    ("a stray comma", {"a.csv": "text,label\na, fine film,1\nbad,0\n"}, [], "a.csv can't be read"),
    ("indices and names", {"a.csv": ROWS}, ["data.label_names=['1','2']"], "first is '0'"),
    ("missing text column", {"a.csv": ROWS}, ["data.text=body"], "'body', but text, label"),
    ("missing label column", {"a.csv": ROWS}, ["data.label=y"], "'y', but text, label"),
    ("unknown label", {"a.csv": ROWS}, ["data.label_names=[no,yes]", "data.label=text"], "labels"),
    ("no such file", {"a.csv": ROWS}, ["data.files.test=[t.csv]"], "matches nothing; there is a.c"),
    ("no rating", {"a.csv": "text,label\nx y,good\n"}, ["data.rating_threshold=1"], "not a number"),
    ("not parquet", {"a.parquet": "text"}, [], "a.parquet can't be read as .parquet"),
    ("not json", {"a.jsonl": "text"}, [], "a.jsonl can't be read as .jsonl"),
    ("a class of one", {"a.csv": ROWS + "\nsome film,2"}, [], "too few"),
]


@pytest.mark.parametrize(
    ("tables", "overrides", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_bad_texts_are_named_and_nothing_is_written(
    empty: Callable, tables: dict, overrides: list[str], message: str
) -> None:
    names = ["data.label_names=[no,yes]"] if "data.rating_threshold=1" in overrides else []
    with pytest.raises(InputError, match=message):
        prepare(empty, tables, *overrides, *names)
    assert not CORPUS.exists()


def test_strings_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufefftext,label\nNA,007\n", encoding="utf-8")
    assert read_table(tmp_path / "a.csv", None).to_dict("records") == [
        {"text": "NA", "label": "007"}
    ]


def test_a_parquet_file_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = tmp_path / "a.parquet"
    pd.DataFrame({"text": ["x" * 100_000] * 2_000}).to_parquet(bomb)
    assert bomb.stat().st_size < 100_000
    monkeypatch.setattr("stages.core.text.corpus.MAX_PARQUET_BYTES", 2**25)
    pool, usual = pa.proxy_memory_pool(pa.system_memory_pool()), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        with pytest.raises(InputError, match="it unpacks to more than"):
            read_table(bomb, None)
    finally:
        pa.set_memory_pool(usual)
    assert pool.max_memory() < 2**26  # of 200 MB


def test_a_tsv_has_no_quotes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text('1\tsay "no\n2\tmore" of it\n')
    table = read_table(tmp_path / "a.txt", ["label", "text"])
    assert table["text"].tolist() == ['say "no', 'more" of it']
