"""Texts, labels and files as people and attackers write them, in every format.

Each is accepted, with what the corpus then holds, or refused with a message that names the cause.
"""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages import fetch, prepare
from stages.core.launch.errors import InputError
from stages.core.launch.parse import parse
from stages.core.launch.paths import CORPUS_SOURCE
from stages.core.launch.settings import DataConfig
from tests.conftest import composed

FORMATS = ("csv", "tsv", "txt", "jsonl", "parquet")
GOOD = [(f"a film number {i}", ("no", "yes")[i % 2]) for i in range(20)]
LONG = "word " * 20_000  # 100,000 characters
Rows = list[tuple[Any, Any]]
Found = dict[str, str | None]  # the label of every text in the corpus, None in transfer


def written(rows: Rows, suffix: str) -> bytes:
    """Return rows of text and label as a file."""
    table = pd.DataFrame(rows, columns=["text", "label"], dtype=object)
    match suffix:
        case "csv":
            out = io.StringIO()
            csv.writer(out).writerows([table.columns, *rows])
            return out.getvalue().encode()
        case "tsv" | "txt":
            return "".join(f"{a}\t{b}\n" for a, b in [table.columns, *rows]).encode()
        case "jsonl":
            lines = [json.dumps({"text": a, "label": b}) + "\n" for a, b in rows]
            return "".join(lines).encode()
        case _:
            return table.to_parquet()


@pytest.fixture(scope="module")
def data() -> DataConfig:
    """Return data=local as it comes."""
    return parse(composed("data=local", "data.source.path=x"), prepare.Config).data


Prepare = Callable[..., Found]


@pytest.fixture
def run(data: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Fetch and prepare one file, without its tokens; return what the corpus holds."""
    monkeypatch.chdir(tmp_path)

    def found(name: str, content: bytes, **settings: Any) -> Found:
        Path(name).write_bytes(content)
        CORPUS_SOURCE.mkdir(parents=True)
        fetch.copy_corpus(Path(name), CORPUS_SOURCE, name)
        corpus = prepare.prepared(replace(data, **settings))
        labels: Found = {}
        for split in corpus.values():
            known = split.features["label"].names if "label" in split.features else None
            names = [known[i] for i in split["label"]] if known else [None] * len(split)
            for text, label in zip(split["text"], names, strict=True):
                assert text not in labels
                labels[text] = label
        return labels

    return found


def judged(run: Prepare, expected: Found | str, name: str, content: bytes, **settings: Any) -> None:
    """Assert that the corpus holds `expected` besides GOOD, or that the error matches it."""
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected) as caught:
            run(name, content, **settings)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500
    else:
        found = run(name, content, **settings)
        good = {text: label for text, label in GOOD if text in found}
        assert found == good | expected


NUL = "holds NUL bytes, as UTF-16 does; convert it to UTF-8"
# A text, what becomes of it, and the formats that don't hold it, with their reason.
TEXTS: dict[str, tuple[str, str | None, dict[str, str]]] = {
    "empty": ("", None, {}),
    "spaces": ("   ", None, {}),
    "other spaces": ("\u00a0\u2003\u3000", None, {}),
    "inner spaces": ("  two   words ", "two words", {}),
    "100,000 characters": (LONG, LONG.strip(), {}),
    "100,000 without a space": ("x" * 100_000, "x" * 100_000, {}),
    "200,000 characters": ("é" * 200_000, "é" * 200_000, {}),
    "control characters": ("a \x01\x1b[31m b", "a \x01\x1b[31m b", {}),
    "NUL": ("a\0b", "a\0b", {"csv": NUL, "tsv": NUL, "txt": NUL}),
    "emoji": ("😀 👩\u200d👩\u200d👧", "😀 👩\u200d👩\u200d👧", {}),
    "right to left": ("\u202eשלום עולם", "\u202eשלום עולם", {}),
    "combining": ("e\u0301a\u0308", "e\u0301a\u0308", {}),
    "Chinese": ("电影很好看", "电影很好看", {}),
    "zero width": ("a\u200bb\ufeffc", "a\u200bb\ufeffc", {}),
    "line separator": ("a\u2028b\x85c\x0bd", "a b c d", {}),
    "formula": ("=cmd()|'/C calc'!A0", "=cmd()|'/C calc'!A0", {}),
    "at": ("@SUM(1)", "@SUM(1)", {}),
    "minus": ("-1+1 x", "-1+1 x", {}),
    "HTML": ("<script>alert(1)</script>", "<script>alert(1)</script>", {}),
    "Markdown": ("| `a` | **b** |", "| `a` | **b** |", {}),
    "quotes": ("say \"no\" 'now'", "say \"no\" 'now'", {}),
    "one quote": ('"', '"', {}),
    "comma": ("a, b,, c", "a, b,, c", {}),
    "backslash": (r"a\nb\\", r"a\nb\\", {}),
    "number": ("3.14", "3.14", {}),
    "nan": ("NaN", "NaN", {}),
    "null": ("null", "null", {}),
    "template": ("${data.text} {{ 7 * 7 }} %s", "${data.text} {{ 7 * 7 }} %s", {}),
    "private use": ("\ue000\U0010fffd", "\ue000\U0010fffd", {}),
    "newline": ("a\nb", "a b", dict.fromkeys(("tsv", "txt"), "row 1 has 1 fields, not 2")),
    "carriage return": ("a\r\nb", "a b", dict.fromkeys(("tsv", "txt"), "row 1 has 1 fields")),
    "tab": ("a\tb", "a b", dict.fromkeys(("tsv", "txt"), "row 1 has 3 fields, not 2")),
}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("case", TEXTS)
def test_a_text(run: Prepare, case: str, suffix: str) -> None:
    text, kept, refusals = TEXTS[case]
    held: Found = {kept: "yes"} if kept else {}
    expected = refusals.get(suffix, held)
    judged(run, expected, f"a.{suffix}", written([(text, "yes"), *GOOD], suffix))


BREAKS = "a label is called .*line breaks or control characters; rename it"
# A label and what becomes of it: its name, None (no label) or a reason to refuse it.
LABELS: dict[str, tuple[str, str | None]] = {
    "blank": ("  ", None),
    "spaces around": ("  maybe ", "maybe"),
    "space inside": ("may be", "may be"),
    "emoji": ("😀", "😀"),
    "joined emoji": ("👩\u200d👧", "👩\u200d👧"),
    "pipe": ("a|b", "a|b"),
    "backtick": ("`a`", "`a`"),
    "path": ("../../etc/passwd", "../../etc/passwd"),
    "HTML": ("<b>maybe</b>", "<b>maybe</b>"),
    "formula": ("=cmd()", "=cmd()"),
    "nan": ("NaN", "NaN"),
    "none": ("None", "None"),
    "number": ("007", "007"),
    "superscript": ("²", "²"),
    "other digits": ("٣", "٣"),
    "digits without end": ("9" * 5000, "9" * 5000),
    "case": ("YES", "YES"),
    "long": ("x" * 10_000, "x" * 10_000),
    "bell": ("a\x07b", BREAKS),
    "escape": ("\x1b[31mred", BREAKS),
    "line separator": ("a\u2028b", BREAKS),
    "newline": ("a\nb", BREAKS),
}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("case", LABELS)
def test_a_label(run: Prepare, case: str, suffix: str) -> None:
    label, kept = LABELS[case]
    texts = [f"text {i}" for i in range(20)]
    expected: Found | str = BREAKS if kept == BREAKS else dict.fromkeys(texts, kept)
    if case == "newline" and suffix in ("tsv", "txt"):
        expected = "row 2 has 1 fields, not 2"
    judged(run, expected, f"a.{suffix}", written([(t, label) for t in texts] + GOOD, suffix))


TYPED: dict[str, tuple[list[Any], list[str | None] | str]] = {
    "whole numbers": ([0, 1], ["0", "1"]),
    "whole floats": ([0.0, 1.0], ["0", "1"]),
    "floats": ([0.5, 1.25], ["0.5", "1.25"]),
    "tenths": ([0.1, 0.3], ["0.1", "0.3"]),
    "negative": ([-1, 1], ["-1", "1"]),
    "large": ([2**60, 2**60 + 1], [str(2**60), str(2**60 + 1)]),
    "booleans": ([False, True], ["False", "True"]),
    "large and gaps": ([2**60, 2**60 + 1, None], [str(2**60), str(2**60 + 1), None]),
    "floats and gaps": ([1.0, 2.0, None], ["1", "2", None]),
    "not a number": ([1.0, 2.0, float("nan")], ["1", "2", None]),
    "booleans and gaps": ([False, True, None], ["False", "True", None]),
    "strings and gaps": (["no", "yes", None], ["no", "yes", None]),
    "infinite": ([1.0, float("inf")], ["1.0", "inf"]),
    "lists": ([[0], [1]], "'label' of a.* holds neither texts nor numbers, the first is a"),
    "objects": ([{"a": 0}, {"a": 1}], "'label' of a.* holds neither .* a dict"),
    "all missing": ([None, None], r"one class \(\[\]\)"),
    "one class": ([1, 1], r"one class \(\['1'\]\)"),
}
FOREIGN: dict[str, tuple[list[Any], list[str | None] | str]] = {
    "bytes": ([b"no", b"yes"], "'label' of a.parquet holds neither .* a bytes"),
    "timestamps": ([datetime(2020, 1, 1), datetime(2021, 1, 1)], "neither .* a Timestamp"),
    "dates": ([date(2020, 1, 1), date(2021, 1, 1)], "neither .* a date"),
    "decimals": ([Decimal("1.50"), Decimal("2.00")], ["1.50", "2.00"]),
}
MIXED: dict[str, tuple[list[Any], list[str | None] | str]] = {
    "strings and numbers": (["no", 1], ["no", "1"]),
    "a number as a string": (["1", 1, 2], ["1", "1", "2"]),
    "booleans and strings": ([True, "no"], ["True", "no"]),
    "a list among strings": (["no", "yes", [1]], "neither .* a list"),
    "31 digits": ([10**30, 1], [str(10**30), "1"]),
}
VALUES = [
    *product(TYPED.items(), ("jsonl", "parquet")),
    *product(FOREIGN.items(), ("parquet",)),
    *product(MIXED.items(), ("jsonl",)),
]


@pytest.mark.parametrize(("case", "suffix"), VALUES, ids=[f"{c[0]}-{s}" for c, s in VALUES])
def test_labels_of_a_type(run: Prepare, case: tuple, suffix: str) -> None:
    values, expected = case[1]
    rows = [(f"text {i}", values[i % len(values)]) for i in range(24)]
    content = written(rows, suffix)
    if isinstance(expected, list):
        expected = {text: expected[i % len(expected)] for i, (text, _) in enumerate(rows)}
    judged(run, expected, f"a.{suffix}", content)


NEITHER = "column 'text' of a.* holds neither texts nor numbers, the first is a"
TEXT_VALUES: list[tuple[str, Any, str, Found | str]] = [
    ("null", None, "jsonl parquet", {}),
    ("a list", ["a", "b"], "jsonl", f"{NEITHER} list"),
    ("an object", {"a": "b"}, "jsonl", f"{NEITHER} dict"),
    ("a number", 3.5, "jsonl", {"3.5": "yes"}),
    ("a boolean", True, "jsonl", {"True": "yes"}),
    ("a date", "2020-01-01", "jsonl parquet", {"2020-01-01": "yes"}),
]
TEXT_CASES = [(n, v, s, e) for n, v, suffixes, e in TEXT_VALUES for s in suffixes.split()]


@pytest.mark.parametrize(
    ("value", "suffix", "expected"),
    [case[1:] for case in TEXT_CASES],
    ids=[f"{case[0]}-{case[2]}" for case in TEXT_CASES],
)
def test_a_text_that_is_none(run: Prepare, value: Any, suffix: str, expected: Found | str) -> None:
    judged(run, expected, f"a.{suffix}", written([(value, "yes"), *GOOD], suffix))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (pd.Categorical([text for text, _ in GOOD]), {}),
        (pd.date_range("2020", periods=20), f"{NEITHER} Timestamp"),
        (range(20), "holds numbers, not texts; set data.text"),
        ([[text] for text, _ in GOOD], f"{NEITHER} ndarray"),
        ([text.encode() for text, _ in GOOD], f"{NEITHER} bytes"),
        ([None] * 20, "too few"),
    ],
    ids=["categories", "timestamps", "numbers", "lists", "bytes", "missing"],
)
def test_a_parquet_column_of_a_type(run: Prepare, texts: Any, expected: Found | str) -> None:
    table = pd.DataFrame({"text": texts, "label": [label for _, label in GOOD]})
    judged(run, expected, "a.parquet", table.to_parquet())


def text(string: str, encoding: str = "utf-8") -> bytes:
    return string.encode(encoding)


CSV = written([("café", "yes"), *GOOD], "csv").decode()
TSV = written([("café", "yes"), *GOOD], "tsv").decode()
JSONL = "".join(
    json.dumps({"text": t, "label": n}, ensure_ascii=False) + "\n"
    for t, n in [("café", "yes"), *GOOD]
)
PARQUET = written(GOOD, "parquet")
CAFE: Found = {"café": "yes"}
CAFE_B: Found = {"café": "yes", "b": "no"}
NO_UTF8 = "is not in UTF-8 .*; convert it"
NO_OBJECT = "can't be read as .jsonl .row 1 is no object"
EMPTY = "holds no rows; remove it or fill it"
FILES: list[tuple[str, str, bytes, Found | str]] = [
    *((f"nothing {s}", s, b"", EMPTY) for s in FORMATS if s != "parquet"),
    *((f"blank lines {s}", s, b"\n\n\r\n", EMPTY) for s in FORMATS if s != "parquet"),
    ("nothing parquet", "parquet", b"", "can't be read as .parquet"),
    ("header only", "csv", b"text,label\n", EMPTY),
    ("header only", "tsv", b"text\tlabel\n", EMPTY),
    ("no rows", "parquet", pd.DataFrame({"text": [], "label": []}).to_parquet(), EMPTY),
    ("no columns", "parquet", pd.DataFrame().to_parquet(), EMPTY),
    *(
        (f"{encoding} {suffix}", suffix, text(content, encoding), reason)
        for suffix, content in (("csv", CSV), ("tsv", TSV), ("txt", TSV), ("jsonl", JSONL))
        for encoding, reason in (
            ("latin-1", NO_UTF8),
            ("cp1252", NO_UTF8),
            ("utf-16", NO_UTF8 if suffix == "jsonl" else NUL),
            ("utf-16-le", NO_UTF8 if suffix == "jsonl" else NUL),
            ("utf-32", NO_UTF8 if suffix == "jsonl" else NUL),
        )
    ),
    *(
        (f"{name} {suffix}", suffix, change(text(content)), CAFE)
        for suffix, content in (("csv", CSV), ("tsv", TSV), ("txt", TSV), ("jsonl", JSONL))
        for name, change in (
            ("BOM", lambda content: b"\xef\xbb\xbf" + content),
            ("CRLF", lambda content: content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")),
            ("no last line end", lambda content: content.rstrip()),
            ("blank lines between", lambda content: content.replace(b"\n", b"\n\n")),
        )
    ),
    *(
        (f"CR {suffix}", suffix, text(content).replace(b"\r", b"").replace(b"\n", b"\r"), expected)
        for suffix, content, expected in (
            ("csv", CSV, CAFE),
            ("tsv", TSV, CAFE),
            ("jsonl", JSONL, CAFE),
        )
    ),
    ("mixed encodings", "csv", text(CSV) + b"caf\xe9,yes\n", NO_UTF8),
    ("an encoded surrogate", "csv", text(CSV) + b"\xed\xa0\x80,yes\n", NO_UTF8),
    ("a lone surrogate", "jsonl", text(JSONL) + b'{"text": "\\udc00 a", "label": "yes"}\n', "read"),
    ("a surrogate label", "jsonl", text(JSONL) + b'{"text": "a", "label": "\\udc00"}\n', "read"),
    ("zeros", "csv", b"\0" * 100, NUL),
    ("zeros", "parquet", b"\0" * 100, "can't be read as .parquet"),
    ("a field too many", "csv", text(CSV) + b"a,b,c\n", "row 22 has 3 fields, not 2"),
    ("a field too few", "csv", text(CSV) + b"a\n", "row 22 has 1 fields, not 2"),
    ("a field too many", "tsv", text(TSV) + b"a\tb\tc\n", "row 22 has 3 fields, not 2"),
    ("a field too few", "tsv", text(TSV) + b"a\n", "row 22 has 1 fields, not 2"),
    ("end of file sign", "csv", text(CSV) + b"\x1a", "row 22 has 1 fields, not 2"),
    ("an open quote", "csv", text(CSV) + b'"a,yes\n', "unexpected end of data"),
    ("a quote that ends early", "csv", text(CSV) + b'"a" b,yes\n', "expected after"),
    ("quotes", "csv", text(CSV) + b'"a ""b"", c","yes"\n', CAFE | {'a "b", c': "yes"}),
    ("a comment", "csv", b"# mine\n" + text(CSV), "fields, not 1"),
    ("semicolons", "csv", text(CSV).replace(b",", b";"), "'text', but text;label; set data.text"),
    ("tabs", "csv", text(TSV), "has not one column 'text'"),
    ("commas", "tsv", text(CSV), "has not one column 'text'"),
    ("capitals", "csv", text(CSV.replace("text,", "Text,")), "'text', but Text, label"),
    ("a space", "csv", text(CSV.replace(",label", ", label")), "has not one column 'label'"),
    ("a column twice", "csv", b"text,text,label\na,b,c\n", "one column 'text', but text, text"),
    ("a label twice", "tsv", b"text\tlabel\tlabel\na\tb\tc\n", "not one column 'label'"),
    (
        "another column",
        "csv",
        text(CSV.replace("\r\n", ",7\r\n").replace("label,7", "label,n")),
        CAFE,
    ),
    ("a column without a name", "csv", text(CSV.replace("\r\n", ",\r\n")), CAFE),
    ("no header", "csv", text(CSV.split("\n", 1)[1]), "has not one column 'text', but café, yes"),
    ("gzip", "csv", b"\x1f\x8b\x08\x00" + b"\x01" * 20, NUL),
    ("zip", "csv", b"PK\x03\x04\xff\xfe", NO_UTF8),
    ("parquet", "csv", PARQUET, f"{NUL}|{NO_UTF8}"),
    ("parquet", "jsonl", PARQUET, f"{NO_UTF8}|can't be read"),
    ("csv", "parquet", text(CSV), "can't be read as .parquet"),
    ("csv", "jsonl", text(CSV), "can't be read as .jsonl"),
    ("cut off", "parquet", PARQUET[:-20], "can't be read as .parquet"),
    ("without its start", "parquet", PARQUET[20:], "can't be read as .parquet"),
    ("a parquet's marks alone", "parquet", b"PAR1PAR1", "can't be read as .parquet"),
    (
        "notes of pandas that are wrong",
        "parquet",
        PARQUET.replace(b"index_columns", b"index_colunms").replace(b"pandas_type", b"pandas_tipe"),
        {},
    ),
    ("an array", "jsonl", b'[{"text": "a", "label": 1}]', NO_OBJECT),
    ("arrays", "jsonl", b"[1, 2]\n[3, 4]\n", NO_OBJECT),
    ("numbers", "jsonl", b"1\n2\n", NO_OBJECT),
    ("strings", "jsonl", b'"a"\n"b"\n', NO_OBJECT),
    ("nulls", "jsonl", b"null\nnull\n", NO_OBJECT),
    *(
        (f"{name} among objects", "jsonl", text(JSONL) + line, "row 22 is no object")
        for name, line in (("null", b"null"), ("a number", b"1"), ("a boolean", b"true"))
    ),
    ("a list among objects", "jsonl", b'[1, "a"]\n' + text(JSONL), NO_OBJECT),
    ("5000 digits", "jsonl", text(JSONL) + b'{"text":"a","label":' + b"9" * 5000 + b"}", "read"),
    ("empty objects", "jsonl", b"{}\n{}\n", f"{EMPTY}|has not one column 'text'"),
    ("half a line", "jsonl", text(JSONL)[:-5], "can't be read as .jsonl"),
    ("two in a line", "jsonl", text(JSONL.replace("}\n{", "}{", 1)), "can't be read as .jsonl"),
    ("single quotes", "jsonl", b"{'text': 'a', 'label': 'b'}\n", "can't be read as .jsonl"),
    ("a deep list", "jsonl", b"[" * 100_000, "can't be read as .jsonl"),
    ("deep objects", "jsonl", b'{"text":' * 100_000, "can't be read as .jsonl"),
    (
        "a key twice",
        "jsonl",
        text(JSONL) + b'{"text":"a","text":"b","label":"yes"}\n',
        CAFE | {"b": "yes"},
    ),
    ("a key less", "jsonl", text(JSONL) + b'{"text":"a b"}\n', CAFE | {"a b": None}),
    (
        "a key more",
        "jsonl",
        text(JSONL) + b'{"text":"a","label":"no","b":[1]}\n',
        CAFE | {"a": "no"},
    ),
]


@pytest.mark.parametrize(
    ("suffix", "content", "expected"),
    [case[1:] for case in FILES],
    ids=[f"{case[0]}-{case[1]}" for case in FILES],
)
def test_a_file(run: Prepare, suffix: str, content: bytes, expected: Found | str) -> None:
    judged(run, expected, f"a.{suffix}", content)


CLASSES = [(f"text {i} {j}", f"class {i}") for i in range(1000) for j in range(10)]
YES_NO = ["no", "yes"]
RATED = [(f"text {i}", (-2, 2)[i % 2]) for i in range(20)]
SETTINGS: list[tuple[str, Rows, dict[str, Any], Found | str]] = [
    ("1000 classes", CLASSES, {}, dict(CLASSES)),
    ("1000 classes, few texts", CLASSES[::9], {}, "too few for a test split of 15%"),
    ("two rows", GOOD[:2], {}, "2 labelled texts are too few for a test split"),
    ("one row", GOOD[:1], {}, "one class"),
    ("one class", [row for row in GOOD if row[1] == "no"], {}, r"one class \(\['no'\]\)"),
    ("one text, many times", [("same", "no"), ("same", "yes")] * 9, {}, "0 labelled texts are too"),
    ("copies", GOOD * 3, {}, {}),
    ("a class of one", [*GOOD, ("x", "maybe")], {}, "too few for a test split .*every class"),
    ("names", GOOD, {"label_names": YES_NO}, {}),
    ("a name too many", GOOD, {"label_names": [*YES_NO, "?"]}, "no text labelled [?]; add some"),
    ("an unseen label", [*GOOD, ("x", "maybe")], {"label_names": YES_NO}, "first is 'maybe'"),
    ("an unseen long label", [*GOOD, ("x", LONG)], {"label_names": YES_NO}, "first is 'word"),
    (
        "an unseen label of 1000",
        [("x", "?"), *CLASSES],
        {"label_names": [f"class {i}" for i in range(1000)]},
        r"1 labels are not one of class 0, .*\[\.\.\.\], the first is '\?'",
    ),
    ("a blank name", GOOD, {"label_names": ["no", " "]}, "a label is called ' '"),
    ("a name with a line break", GOOD, {"label_names": ["no", "y\nes"]}, BREAKS),
    (
        "ratings",
        RATED,
        {"label_names": YES_NO, "rating_threshold": 1.0},
        {text: ("no", "yes")[i % 2] for i, (text, _) in enumerate(RATED)},
    ),
    (
        "an infinite rating",
        [("x", "inf"), *RATED],
        {"label_names": YES_NO, "rating_threshold": 1.0},
        "1 labels are not a number, the first is 'inf'",
    ),
    ("no such column", GOOD, {"text": "body"}, "'body', but text, label; set data.text"),
    ("no such label", GOOD, {"label": "\n"}, r"has not one column '\\n'"),
    (
        "a file with its own columns",
        GOOD,
        {"columns": ["text", "label"]},
        "too few|one class|no te",
    ),
    ("too few columns", GOOD, {"columns": ["text"]}, "row 1 has 2 fields, not 1"),
    ("a sample of one", GOOD, {"max_texts": 1}, "1 labelled texts are too few"),
]


@pytest.mark.parametrize(
    ("rows", "settings", "expected"),
    [case[1:] for case in SETTINGS],
    ids=[case[0] for case in SETTINGS],
)
def test_settings_and_rows(run: Prepare, rows: Rows, settings: dict, expected: Found | str) -> None:
    judged(run, expected, "a.csv", written(rows, "csv"), **settings)


def test_a_directory_of_that_name_is_no_file(run: Prepare) -> None:
    (CORPUS_SOURCE / "b.csv").mkdir(parents=True)
    CORPUS_SOURCE.rename("kept")
    found = run("a.csv", written(GOOD, "csv"))
    assert found == dict(GOOD)


def test_there_are_enough_cases() -> None:
    texts, labels = (len(cases) * len(FORMATS) for cases in (TEXTS, LABELS))
    assert texts + labels + len(VALUES) + len(TEXT_CASES) + len(FILES) + len(SETTINGS) > 200
