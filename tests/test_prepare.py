import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stages.core.launch.errors import InputError
from stages.core.launch.paths import CORPUS, CORPUS_SOURCE
from stages.core.text.corpus import load_corpus
from tests.conftest import make_texts

OWN = ("data.files.transfer=[]",)


def write(tables: dict[str, pd.DataFrame]) -> None:
    """Put files where fetch would, the encoder aside."""
    CORPUS_SOURCE.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(CORPUS_SOURCE / name, index=False)


@pytest.fixture
def run(project: Callable) -> Callable[..., str]:
    """Return what prepares tables in place of the toy experiment's texts."""
    for file in CORPUS_SOURCE.iterdir():
        file.unlink()

    def prepare(tables: dict[str, pd.DataFrame], *overrides: str) -> str:
        write(tables)
        return project("prepare", *OWN, *overrides)

    return prepare


def test_no_text_stands_in_two_splits(project: Callable) -> None:
    corpus = load_corpus()
    texts = [text.casefold() for split in corpus.values() for text in split["text"]]
    assert len(texts) == len(set(texts))
    rows = {name: split.num_rows for name, split in corpus.items()}
    assert rows == {"train": 180, "validation": 24, "test": 36, "transfer": 60}


def test_labels_are_balanced_alike_and_the_statistics_say_so(project: Callable) -> None:
    statistics = json.loads(Path("reports/data.json").read_text())
    for split in ("train", "validation", "test"):
        assert statistics[split]["largest_class_share"] == pytest.approx(0.5, abs=0.03)
        (negative, _), (positive, _) = statistics[split]["classes"]
        assert [negative, positive] == ["negative", "positive"]
        assert 6 <= statistics[split]["tokens_p50"] <= statistics[split]["tokens_max"] <= 15
    assert statistics["transfer"]["rows"] == 60


def test_the_same_seed_gives_the_same_bytes(project: Callable) -> None:
    before = {path: path.read_bytes() for path in CORPUS.rglob("*") if path.is_file()}
    project("prepare")
    assert before == {path: path.read_bytes() for path in CORPUS.rglob("*") if path.is_file()}
    test = load_corpus()["test"]["text"][:]
    project("prepare", "data.seed=99")
    assert load_corpus()["test"]["text"][:] != test


def test_given_splits_are_kept_and_win_over_train(run: Callable) -> None:
    table = make_texts(80)
    run(
        {"train.csv": table, "test.CSV": table[:20], "validation.csv": table[10:30]},
        "data.files.test=[test.*]",
        "data.files.validation=[validation.csv]",
    )
    corpus = load_corpus()
    assert set(corpus["test"]["text"]) == set(table["text"][:20])
    assert set(corpus["validation"]["text"]) == set(table["text"][20:30])
    assert set(corpus["train"]["text"]) == set(table["text"][30:])


def test_texts_keep_their_labels_and_those_without_one_are_transfer(run: Callable) -> None:
    table = make_texts(90).rename(columns={"text": "sentence"})
    table["mood"] = [("bad", "so-so", "good", None)[i % 4] for i in range(90)]
    names = "data.label_names=[bad,so-so,good]"
    run({"texts.csv": table}, "data.text=sentence", "data.label=mood", names)
    corpus = load_corpus()
    found = {
        text: split.features["label"].int2str(label)
        for name, split in corpus.items()
        if name != "transfer"
        for text, label in zip(split["text"], split["label"], strict=True)
    }
    assert found == dict(table.dropna()[["sentence", "mood"]].to_numpy())
    assert set(corpus["transfer"]["text"]) == set(table.loc[table["mood"].isna(), "sentence"])


def test_the_share_of_the_texts_that_are_cut_is_printed(project: Callable) -> None:
    assert "cut" not in project("prepare")
    printed = project("prepare", "model.max_length=10")
    assert "; longer than model.max_length = 10 tokens, and so cut: " in printed
    statistics = json.loads(Path("reports/data.json").read_text())
    for split in ("train", "validation", "test", "transfer"):
        assert f"{statistics[split]['cut_share']:.2%} of {split}" in printed


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.max_length=65", "the encoder reads at most 64 tokens; use 64 or less"),
        ("student.n_layers=4", r"layers are \[0, 1, 1, 2\] of a model that has 0 to 2; change"),
        ("student.dim=16", "student.dim = 16, but the layers to copy have 32"),
        ("report.quality=recall_bad", "the classes are negative, positive; use one of them"),
    ],
)
def test_what_no_later_stage_could_do_is_refused_before_the_training(
    project: Callable, override: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        project("prepare", override)


def test_a_student_as_large_as_its_teacher_is_noted(project: Callable) -> None:
    for layers, notes in ((2, 0), (3, 1)):
        project("prepare", f"student.n_layers={layers}", "student.hidden_dim=null")
        found = json.loads(Path("reports/data.json").read_text())["notes"]
        assert sum("; lower student.n_layers" in note for note in found) == notes


def test_a_split_that_only_repeats_another_is_named(run: Callable) -> None:
    texts = make_texts(60)
    with pytest.raises(InputError, match=r"; dropped 20 dup.*validation split.*validation=\[\]"):
        run({"train.csv": texts[:40], "test.csv": texts[40:], "validation.csv": texts[40:]})


def test_a_thousand_classes_are_classes(run: Callable) -> None:
    rows = [(f"text {i} {j}", f"class {i}") for i in range(1000) for j in range(10)]
    run({"texts.csv": pd.DataFrame(rows, columns=["text", "label"])})
    assert len(load_corpus()["train"].features["label"].names) == 1000
    metrics = pd.json_normalize(json.loads(Path("reports/data.json").read_text()))
    assert metrics.select_dtypes("number").shape[1] < 50, "dvc metrics would show them all"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"text": ["1", "2"], "label": ["no", "yes"]}, "holds numbers, not texts; set data.text"),
        ({"text": [1, None], "label": ["no", "yes"]}, "holds numbers, not texts; set data.text"),
        (
            {"text": ["same"] * 20, "label": ["no", "yes"] * 10},
            "2 of 2 classes have too few texts .*; dropped 20 contradictory texts; add texts",
        ),
    ],
)
def test_bad_texts_are_named_and_the_corpus_stays(
    run: Callable, table: dict[str, list], message: str
) -> None:
    before = sorted(path.name for path in CORPUS.iterdir())
    with pytest.raises(InputError, match=message):
        run({"a.csv": pd.DataFrame(table)})
    assert sorted(path.name for path in CORPUS.iterdir()) == before
