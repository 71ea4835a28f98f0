from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.text.augmentation import (
    WORD,
    HeldOut,
    clauses,
    joined,
    spans,
)

TEXTS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), max_size=12).map(" ".join)


def test_clauses_are_what_stands_between_punctuation() -> None:
    text = "A well-made film -- funny, at that; see it! Now"
    assert clauses(text) == ["A well-made film", "at that", "see it"]
    assert clauses("अच्छी फिल्म। कहानी भी") == ["अच्छी फिल्म", "कहानी भी"]


def test_characters_are_the_words_of_scripts_without_spaces() -> None:
    text = "这部电影很好看，演员也不错。"
    assert clauses(text) == ["这部电影很好看", "演员也不错"]
    found = spans(text, 9, Random(0))
    assert len({*found}) > 3
    assert all(span in text for span in found)
    assert set(joined(["很好", "不错"], 9, Random(0))) <= {
        f"{first}，{second}" for first in ("很好", "不错") for second in ("很好", "不错")
    }
    assert HeldOut([text]).overlaps("我说这部电影很好看演真的") is True
    assert HeldOut([text]).overlaps("这部片子不好") is False


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी में एक अच्छी फिल्म", ["हिन्दी", "में", "एक", "अच्छी", "फिल्म"]),
        ("cre\u0300me bru\u0302le\u0301e", ["cre\u0300me", "bru\u0302le\u0301e"]),
        ("ฉันรู้", ["ฉั", "น", "รู้"]),
    ],
)
def test_a_mark_belongs_to_its_word(text: str, words: list[str]) -> None:
    assert WORD.findall(text) == words


@given(TEXTS, st.integers(0, 5), st.integers())
def test_a_span_is_a_part_of_its_text(text: str, count: int, seed: int) -> None:
    found = spans(text, count, Random(seed))
    assert len(found) == (count if len(text.split()) > 2 else 0)
    for span in found:
        assert f" {span} " in f" {text} "
        assert 1 < len(span.split()) < len(text.split())


def test_joins_are_of_two_clauses() -> None:
    found = joined(["so it is", "what a film"], 50, Random(0))
    assert len(found) == 50
    assert all(text.startswith(("so it is", "what a film")) for text in found)
    assert joined([], 5, Random(0)) == []


def test_only_english_clauses_are_joined_by_english_words() -> None:
    def words(*parts: str) -> set[str]:
        return {word for text in joined([*parts], 99, Random(0)) for word in text.split()}

    assert {"and", "but"} <= words("so it is", "a film and a half")
    assert not {"and", "but"} & words("une vie", "c'est beau")


LONG = "one two three four five six seven eight nine ten"


@pytest.mark.parametrize(
    ("text", "overlaps"),
    [
        (LONG, True),
        ("Three, four!", True),  # a part
        ("x one two three four five six seven eight y", True),  # eight words in a row
        ("x one two three four five six seven y", False),
        ("what a very good film it is", True),  # contains a short one
        ("nice indeed", False),  # contains one that is short by chance
        ("nice", True),
        ("something else", False),
    ],
)
def test_held_out_texts_are_not_given_away(text: str, overlaps: bool) -> None:
    assert HeldOut([LONG, "A very good film.", "Nice"]).overlaps(text) is overlaps
