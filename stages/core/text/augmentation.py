"""Texts made from others, for a teacher to label: their labels are what it says of them.

Quantity is what a student needs (Jiao et al., 2020, "TinyBERT", arXiv:1909.10351), and a part of a
text need not keep its meaning, since the teacher reads the part.
"""

from collections.abc import Iterable
from random import Random

import regex

CJK = r"\p{Han}\p{Hiragana}\p{Katakana}"
# In these scripts, no spaces separate words: each character, with its marks, counts as one.
UNSPACED = rf"{CJK}\p{{Thai}}\p{{Lao}}\p{{Khmer}}\p{{Myanmar}}"
CHARACTER = rf"[{UNSPACED}]\p{{M}}*"
WORD = regex.compile(rf"{CHARACTER}|[[\w\p{{M}}]--[{UNSPACED}]]+", regex.V1)
WRITTEN = regex.compile(rf"{CHARACTER}|[^\s{UNSPACED}]+")  # a word with its punctuation
BREAK = regex.compile(r'[,;:.!?()"，、。；：！？…（）「」『』،؛؟।]+|\s[-–—]+\s|--')
JOINTS = (", ", " and ", " but ", "; ", ". ")  # between clauses
ENGLISH = 0.05  # the share of clauses with "and" in it above which they are English
JOINT_CJK = "，"
RUN = 8  # words that a made text may not share with a held-out one
WHOLE = 4  # words from which on a held-out text does not occur in others by chance


def clauses(text: str) -> list[str]:
    """Return the parts of a text between punctuation marks, of two words or more."""
    parts = (part.strip() for part in BREAK.split(text))
    return [part for part in parts if len(WRITTEN.findall(part)) > 1]


def spans(text: str, count: int, random: Random) -> list[str]:
    """Return `count` random runs of a text's words, of two or more but not all; none of two."""
    words = [match.span() for match in WRITTEN.finditer(text)]
    found = []
    for _ in range(count if len(words) > 2 else 0):
        length = random.randint(2, len(words) - 1)
        start = random.randint(0, len(words) - length)
        found.append(text[words[start][0] : words[start + length - 1][1]])
    return found


def joined(parts: list[str], count: int, random: Random) -> list[str]:
    """Return `count` joins of two random clauses; by punctuation alone unless they are English."""
    found = []
    english = sum(" and " in part for part in parts) > ENGLISH * len(parts)
    joints = [joint for joint in JOINTS if english or not joint.strip().isalpha()]
    for _ in range(count if parts else 0):
        first, joint, second = (random.choice(each) for each in (parts, joints, parts))
        found.append(first + (JOINT_CJK if regex.search(f"[{CJK}]", first) else joint) + second)
    return found


class HeldOut:
    """The texts that no made text may give away."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.runs: set[str] = set()
        self.whole: set[str] = set()
        for text in texts:
            words = _words(text)
            for length in range(1, RUN + 1):
                self.runs.update(_runs(words, length))
            if WHOLE <= len(words) < RUN:
                self.whole.add(" ".join(words))
        self.lengths = {text.count(" ") + 1 for text in self.whole}

    def overlaps(self, text: str) -> bool:
        """Return whether a text is a part of one, shares eight words in a row, or contains one.

        One of three words or fewer is contained in others by chance.
        """
        words = _words(text)
        return not self.runs.isdisjoint(_runs(words, min(RUN, len(words)))) or any(
            not self.whole.isdisjoint(_runs(words, length)) for length in self.lengths
        )


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def _runs(words: list[str], length: int) -> list[str]:
    return [
        " ".join(words[start : start + length]) for start in range(len(words) - length + 1)
    ] or [" ".join(words)]
