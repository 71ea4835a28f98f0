import json
from collections.abc import Callable
from pathlib import Path

from stages.core.launch.paths import AUGMENTED
from stages.core.text.augmentation import HeldOut
from stages.core.text.corpus import load_corpus, load_texts
from stages.core.text.splits import key

EACH = ("augment.clauses=true", "augment.spans=4", "augment.joined=1")


def test_made_texts_are_new_and_give_no_held_out_one_away(project: Callable) -> None:
    project("augment", *EACH)
    made, corpus = load_texts(AUGMENTED), load_corpus()
    assert {"spans", "joined"} == {*made["origin"]}  # toy texts are one clause
    keys = [key(text) for text in made["text"]]
    known = {key(text) for split in corpus.values() for text in split["text"]}
    assert len({*keys}) == len(keys)
    assert not known & {*keys}
    held_out = HeldOut([*corpus["validation"]["text"], *corpus["test"]["text"]])
    assert not any(map(held_out.overlaps, made["text"]))


def test_every_made_text_is_kept_or_counted(project: Callable) -> None:
    project("augment", *EACH)
    counts = json.loads(Path("reports/augmented.json").read_text())
    rows = load_corpus()["train"].num_rows
    assert sum(counts.values()) == rows * (1 + 4 + 1)
    assert counts["repeated"] >= rows  # the clauses


def test_the_same_seed_makes_the_same_texts(project: Callable) -> None:
    project("augment", *EACH)
    first = load_texts(AUGMENTED)["text"][:]
    project("augment", *EACH)
    assert load_texts(AUGMENTED)["text"][:] == first
    project("augment", *EACH, "data.seed=14")
    assert load_texts(AUGMENTED)["text"][:] != first
