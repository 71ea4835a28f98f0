"""Files as people and attackers write them: read as they are, or refused with the cause."""

import csv
import io
import json
import re
import shlex
import tempfile
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.launch.errors import InputError
from stages.core.launch.inputs import Reading
from stages.core.text.tables import is_table, read_table, strings
from tests.conftest import configured

FORMATS = ("csv", "tsv", "jsonl", "parquet")
LINES = ("csv", "tsv", "jsonl")
Rows = list[tuple[Any, Any]]
ROWS: Rows = [("café", "yes"), ("bar", "no")]


def written(rows: Rows, suffix: str) -> bytes:
    """Return rows of text and label as a file."""
    table = pd.DataFrame(rows, columns=["text", "label"], dtype=object)
    match suffix:
        case "csv":
            out = io.StringIO()
            csv.writer(out).writerows([table.columns, *rows])
            return out.getvalue().encode()
        case "tsv":
            return "".join(f"{a}\t{b}\n" for a, b in [table.columns, *rows]).encode()
        case "jsonl":
            lines = [{"text": a, "label": b} for a, b in rows]
            return "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in lines).encode()
        case _:
            return table.to_parquet()


Read = Callable[..., Rows]


def how(**given: Any) -> Reading:
    fields: dict[str, Any] = dict.fromkeys(("columns", "separator", "quote", "escape"))
    return Reading(**fields | {"encoding": "utf-8"} | given)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return what writes bytes to a file and reads them as rows of text and label."""

    def rows(content: bytes, suffix: str, **given: Any) -> Rows:
        file = tmp_path / f"a.{suffix}"
        file.write_bytes(content)
        table = read_table(file, how(**given), {"text", "label"})
        both = [strings(table, name, "a", f"data.{name}") for name in ("text", "label")]
        return list(zip(*both, strict=True))

    return rows


def refuses(read: Read, reason: str, content: bytes, suffix: str, **given: Any) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        read(content, suffix, **given)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@settings(deadline=None, max_examples=60)
@given(
    text=st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    suffix=st.sampled_from(["csv", "jsonl", "parquet"]),
)
def test_any_text_comes_back_as_it_was(text: str, suffix: str) -> None:
    with tempfile.NamedTemporaryFile(suffix=f".{suffix}") as file:
        file.write(written([(text, "yes"), ("other", "no")], suffix))
        file.flush()
        table = read_table(Path(file.name), how())
    assert strings(table, "text", "a", "data.text").tolist() == [text, "other"]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    "text", ["NA", "null", "007", "3.14", '"', "say \"no\" 'now'", r"a\nb\\", "x" * 200_000, "=a()"]
)
def test_nothing_is_taken_for_something_else(read: Read, text: str, suffix: str) -> None:
    assert read(written([(text, text), ("b", "no")], suffix), suffix)[0] == (text, text)


@pytest.mark.parametrize("suffix", LINES)
@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
        lambda content: content.replace(b"\r\n", b"\n").replace(b"\n", b"\r"),
        lambda content: content.rstrip(),
        lambda content: content.replace(b"\n", b"\n\n"),
    ],
    ids=["BOM", "CRLF", "CR", "no last line end", "blank lines"],
)
def test_line_ends_and_marks_change_nothing(
    read: Read, change: Callable[[bytes], bytes], suffix: str
) -> None:
    assert read(change(written(ROWS, suffix)), suffix) == ROWS


def test_suffixes_may_be_in_capitals_and_txt_is_a_tsv(read: Read, tmp_path: Path) -> None:
    for suffix in FORMATS:
        assert read(written(ROWS, suffix), suffix.upper()) == ROWS
        assert is_table(tmp_path / f"a.{suffix.upper()}")
    assert read(written(ROWS, "tsv"), "txt") == ROWS
    assert not is_table(tmp_path)


def test_a_tsv_has_no_quotes_and_its_columns_may_be_given(read: Read) -> None:
    content = b'1\tsay "no\n2\tmore" of it\n'
    assert read(content, "txt", columns=["label", "text"]) == [
        ('say "no', "1"),
        ('more" of it', "2"),
    ]


NO_UTF8 = "is not in utf-8 .*; it (seems to be in .*: set data.encoding=|is not text:)"
NO_OBJECT = "can't be read as .jsonl .line 1 is not an object"
EMPTY = "holds no rows; remove it or fill it"


@pytest.mark.parametrize("suffix", LINES)
@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        ("latin-1", "cp1252"),
        ("cp1252", "cp1252"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-32", "utf-32"),
    ],
)
def test_another_encoding_is_named_with_its_setting_which_reads_it(
    read: Read, encoding: str, named: str, suffix: str
) -> None:
    content = written(ROWS, suffix).decode().encode(encoding)
    refuses(
        read,
        f"in utf-8 .*; it seems to be in {named}: set data.encoding={named}.*, or convert it",
        content,
        suffix,
    )
    assert read(content, suffix, encoding=named) == ROWS


CSV, TSV, JSONL, PARQUET = (written(ROWS, suffix) for suffix in FORMATS)
BAD: list[tuple[str, bytes, str]] = [
    *((suffix, b"", EMPTY) for suffix in LINES),
    *((suffix, b"\n\n\r\n", EMPTY) for suffix in LINES),
    ("csv", b"text,label\n", EMPTY),
    ("parquet", pd.DataFrame({"text": [], "label": []}).to_parquet(), EMPTY),
    ("parquet", pd.DataFrame().to_parquet(), EMPTY),
    ("parquet", b"", "can't be read as .parquet"),
    ("csv", CSV + b"caf\xe9,yes\n", NO_UTF8),
    ("csv", CSV + b"\xed\xa0\x80,yes\n", NO_UTF8),
    ("jsonl", JSONL + b'{"text": "\\udc00 a", "label": "yes"}\n', "can't be read"),
    ("csv", CSV + b"a,b,c\n", "line 4 has 3 fields, not 2"),
    ("csv", CSV + b"a\n", "line 4 has 1 fields, not 2"),
    ("tsv", TSV + b"a\tb\tc\n", "line 4 has 3 fields, not 2"),
    ("csv", CSV + b"\x1a", "line 4 has 1 fields, not 2"),
    ("csv", CSV + b'"a,yes\n', "unexpected end of data"),
    ("csv", CSV + b'"a" b,yes\n', r"line 4: .* expected after '\"'; correct it."),
    ("tsv", TSV + b'"a\nb"\tyes\n', "1 fields, .* a text in quotes may go on in the next"),
    ("tsv", b'\ttext\n0\t"a\nb"\n', "1 fields, .* a text in quotes may go on in the next"),
    # As Excel saves a table as "Text (Tab delimited)".
    ("txt", b'text\tlabel\nplain\tx\n"a, b"\ty\n"c, d"\tx\n', "fields seem to be in quotes"),
    ("csv", b"sep=;\ntext;label\na;b;c\n", r"line 3 has 3 fields, not 2; correct it\)"),
    ("csv", b'Body;Stars\r\n"a;b";1\r\n', r"correct it or, .* -S .data.separator=';'"),
    ("csv", b'text,label\n"a \\"b\\" c",yes\n', r"correct it or, .* -S 'data.escape=.'"),
    ("csv", b"# mine\n" + CSV, "fields, not 1"),
    ("csv", CSV.replace(b",", b";"), "'text', but has text;label; set data.text"),
    ("csv", TSV, "must have exactly one column 'text'"),
    ("tsv", CSV, "must have exactly one column 'text'"),
    ("csv", CSV.replace(b"text,", b"Text,"), "'text', but has Text, label"),
    ("csv", CSV.replace(b",label", b", label"), "must have exactly one column 'label'"),
    ("csv", b"text,text,label\na,b,c\n", "one column 'text', but has text, text"),
    ("csv", CSV.split(b"\n", 1)[1], "must have exactly one column 'text', but has café, yes"),
    ("csv", b"\x1f\x8b\x08\x00" + b"\x01" * 20, NO_UTF8),
    ("csv", b"PK\x03\x04\xff\xfe", NO_UTF8),
    ("csv", PARQUET, NO_UTF8),
    ("jsonl", PARQUET, f"{NO_UTF8}|can't be read"),
    ("jsonl", CSV, "can't be read as .jsonl"),
    ("parquet", CSV, "can't be read as .parquet"),
    ("parquet", PARQUET[:-20], "can't be read as .parquet"),
    ("parquet", PARQUET[20:], "can't be read as .parquet"),
    ("parquet", b"PAR1PAR1", "can't be read as .parquet"),
    ("jsonl", b'[{"text": "a", "label": 1}]', NO_OBJECT),
    *(("jsonl", line, NO_OBJECT) for line in (b"[1, 2]\n", b"1\n", b'"a"\n', b"null\n")),
    ("jsonl", JSONL + b"null", "line 3 is not an object"),
    ("jsonl", JSONL + b'{"text":"a","label":' + b"9" * 5000 + b"}", "can't be read"),
    ("jsonl", JSONL[:-5], "can't be read as .jsonl"),
    ("jsonl", JSONL.replace(b"}\n{", b"}{", 1), "can't be read as .jsonl"),
    ("jsonl", b"[" * 100_000, "can't be read as .jsonl"),
    ("jsonl", b'{"text":' * 100_000, "can't be read as .jsonl"),
]


@pytest.mark.parametrize(("suffix", "content", "reason"), BAD, ids=range(len(BAD)))
def test_what_is_no_table_is_refused(read: Read, suffix: str, content: bytes, reason: str) -> None:
    refuses(read, reason, content, suffix)


@pytest.mark.parametrize(
    ("suffix", "content", "rows"),
    [
        ("csv", CSV + b'"a ""b"", c","yes"\n', [*ROWS, ('a "b", c', "yes")]),
        ("csv", CSV.replace(b"\r\n", b",7\r\n").replace(b"label,7", b"label,n"), ROWS),
        ("csv", CSV.replace(b"\r\n", b",\r\n"), ROWS),
        ("jsonl", JSONL + b'{"text":"a","text":"b","label":"yes"}\n', [*ROWS, ("b", "yes")]),
        ("jsonl", JSONL + b'{"text":"a b"}\n', [*ROWS, ("a b", "")]),
        ("jsonl", JSONL + b'{"text":"a","label":"no","b":[1]}\n', [*ROWS, ("a", "no")]),
        ("parquet", PARQUET.replace(b"index_columns", b"index_colunms"), ROWS),
    ],
    ids=["quotes", "column more", "nameless column", "key twice", "key less", "key more", "pandas"],
)
def test_odd_tables_are_read(read: Read, suffix: str, content: bytes, rows: Rows) -> None:
    assert read(content, suffix) == rows


NEITHER = "column 'label' of a holds neither texts nor numbers, the first is a"
VALUES: list[tuple[list[Any], list[str] | str, str]] = [
    ([0, 1], ["0", "1"], "jsonl parquet"),
    ([0.0, 1.0], ["0", "1"], "jsonl parquet"),
    ([0.5, 1.25], ["0.5", "1.25"], "jsonl parquet"),
    ([2**60, 2**60 + 1, None], [str(2**60), str(2**60 + 1), ""], "jsonl parquet"),
    ([1.0, 2.0, None], ["1", "2", ""], "jsonl parquet"),
    ([False, True, None], ["False", "True", ""], "jsonl parquet"),
    (["no", "yes", None], ["no", "yes", ""], "jsonl parquet"),
    ([1.0, float("inf")], ["1.0", "inf"], "jsonl parquet"),
    ([[0], [1]], f"{NEITHER} (list|ndarray)", "jsonl parquet"),
    ([{"a": 0}, {"a": 1}], f"{NEITHER} dict", "jsonl parquet"),
    (["1", 1, True, 10**30], ["1", "1", "True", str(10**30)], "jsonl"),
    ([b"no", b"yes"], f"{NEITHER} bytes", "parquet"),
    ([datetime(2020, 1, 1), datetime(2021, 1, 1)], f"{NEITHER} Timestamp", "parquet"),
    ([date(2020, 1, 1), date(2021, 1, 1)], f"{NEITHER} date", "parquet"),
    ([Decimal("1.50"), Decimal("2.00")], ["1.50", "2.00"], "parquet"),
]


@pytest.mark.parametrize(("values", "expected", "formats"), VALUES, ids=range(len(VALUES)))
def test_values_of_a_type(
    read: Read, values: list[Any], expected: list[str] | str, formats: str
) -> None:
    for suffix in formats.split():
        content = written([(f"text {i}", value) for i, value in enumerate(values)], suffix)
        if isinstance(expected, str):
            refuses(read, expected, content, suffix)
        else:
            assert [label for _, label in read(content, suffix)] == expected


SHELL = re.compile(r"""-S ('[^']*'|"(?:[^"\\]|\\.)*")""")


@pytest.mark.parametrize(
    ("suffix", "content", "rows"),
    [
        ("csv", b"text;label\na, b;yes\n", [("a, b", "yes")]),
        ("csv", b"text\tlabel\na, b\tyes\n", [("a, b", "yes")]),
        ("csv", b'text,label\n"a \\"b\\"",yes\n', [('a "b"', "yes")]),
        ("csv", b'text,label\na \\"b\\",yes\n', [('a "b"', "yes")]),
        ("tsv", b'text\tlabel\n"a ""b"""\tyes\n', [('a "b"', "yes")]),
    ],
)
def test_what_a_message_says_to_type_reads_the_file(
    read: Read, suffix: str, content: bytes, rows: Rows
) -> None:
    with pytest.raises(InputError) as caught:
        read(content, suffix)
    (typed,) = shlex.split(SHELL.findall(str(caught.value))[0])
    data = configured("data=local", "data.source.path=x", typed).data
    given = data.model_dump(include={"separator", "quote", "escape"})
    assert read(content, suffix, **given) == rows


CHINESE = "电影很好看,pos\n" * 5000
ASCII = "text,label\n" + "a plain film,pos\n" * 5000  # more than a sample


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (
            "un café très bon,pos\n".encode("cp1252"),
            r"seems to be in cp1252: set data.encoding=cp1252 .cp1250 if",
        ),
        (CHINESE.encode() + b"\xff,neg\n", r"most of it is: correct or remove what is not"),
        ("très, très bon: caf".encode() + b"\xe9\n", r"most of it is: correct or remove what is"),
        (CHINESE.encode("gb18030"), r"seems to be in gb18030: set data.encoding="),
        (b"a film\0,pos\n", r"NUL .*; most of it is: correct or remove what is not"),
    ],
)
def test_what_fits_no_more_after_many_lines_is_told(
    tmp_path: Path, rest: bytes, message: str
) -> None:
    (tmp_path / "a.csv").write_bytes(ASCII.encode() + rest)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / "a.csv", how())


@pytest.mark.parametrize(("mark", "encoding"), [("utf-8-sig", "cp1252"), ("utf-16", "utf-16-le")])
def test_a_byte_order_mark_is_never_a_part_of_a_name(
    tmp_path: Path, mark: str, encoding: str
) -> None:
    (tmp_path / "a.csv").write_bytes("text,label\ncafé,pos\n".encode(mark))
    if encoding == "cp1252":
        with pytest.raises(InputError, match=r"seems to be in utf-8: set data.encoding="):
            read_table(tmp_path / "a.csv", how(encoding=encoding))
    else:
        table = read_table(tmp_path / "a.csv", how(encoding=encoding))
        assert table["text"].tolist() == ["café"]


def test_an_arrow_file_is_read_like_a_stream(tmp_path: Path) -> None:
    table = pa.table({"text": ["a film", "a play"], "label": ["pos", "neg"]})
    with pa.ipc.new_file(tmp_path / "a.arrow", table.schema) as file:
        file.write_table(table)
    assert read_table(tmp_path / "a.arrow", how())["label"].tolist() == ["pos", "neg"]


def test_a_missing_category_is_an_empty_string() -> None:
    table = pd.DataFrame({"label": pd.Categorical(["x", "y", None])})
    assert strings(table, "label", "a.parquet", "data.label").tolist() == ["x", "y", ""]
