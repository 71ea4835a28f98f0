import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stages.core.launch.paths import EVALUATION, VARIANTS
from stages.core.text.corpus import load_corpus
from stages.predict import print_text

SCRIPT = Path(__file__).parents[1] / "stages" / "predict.py"


def predict(
    *arguments: str | bytes, stdin: bytes = b"", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        input=stdin,
        env=os.environ | environment,
        capture_output=True,
        check=False,
    )


def test_a_text_gets_label_score_and_time(project: Callable) -> None:
    done = predict("good lovely film", "an awful bad plot")
    first, second = (line.split("\t") for line in done.stdout.decode().splitlines())
    assert (first[0], first[3]) == ("positive", "good lovely film")
    assert (second[0], second[3]) == ("negative", "an awful bad plot")
    assert 0.5 < float(first[1]) <= 1
    assert first[2].endswith(" ms")
    assert done.stderr == b""


@pytest.mark.parametrize("variant", VARIANTS)
def test_predictions_equal_those_of_evaluate(project: Callable, variant: str) -> None:
    texts = load_corpus()["test"]["text"][:]
    Path("texts.txt").write_text("\n".join(texts) + "\n")
    done = predict("--input", "texts.txt", "--format", "jsonl", "--variant", variant)
    rows = [json.loads(line) for line in done.stdout.decode().splitlines()]
    expected = pd.read_parquet(EVALUATION / variant / "predictions.parquet")
    expected = expected[expected["split"] == "test"]["predicted"]
    assert [row["text"] for row in rows] == texts
    assert [row["label"] for row in rows] == [("negative", "positive")[i] for i in expected]


# What a spreadsheet may take for a formula, and what may break a line, a row or a terminal.
HOSTILE = [
    *("=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1+1", "\r=1+1", "=cmd|'/C calc'!A0", '=HYPERLINK("x")'),
    *('a "good", fine film', "naïve 😀\u2028plot", "", "   ", "a\rb", "\x1b[31mred", "a\0b", '"'),
    *("\u202eright to left", "x" * 100_000, "word " * 20_000),
]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_every_line_of_standard_input_is_one_row_of_csv(project: Callable, encoding: str) -> None:
    lines = HOSTILE
    text = "\ufeff" + "\r\n".join(lines) + "\r\n"
    done = predict(
        *("--input", "-", "--format", "csv"), stdin=text.encode(), PYTHONIOENCODING=encoding
    )
    assert b"Traceback" not in done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode(), newline="")))
    assert [row["text"] for row in rows] == lines
    assert set(rows[0]) == {"text", "label", "score", "ms"}


def test_every_text_is_one_line_that_a_terminal_can_show(project: Callable) -> None:
    done = predict("--", *(text for text in HOSTILE if "\0" not in text), "a\nb")
    lines = done.stdout.decode().split("\n")
    assert len(lines) - 1 == len(HOSTILE)
    assert all(line.replace("\t", "").isprintable() for line in lines)
    assert lines[-2].endswith("a\\nb")


def test_a_label_is_printed_as_safely_as_a_text(capsys: pytest.CaptureFixture) -> None:
    print_text(iter([{"text": "a", "label": "\u202ered\x1b[31m", "score": 1.0, "ms": 1.0}]))
    assert capsys.readouterr().out == "\\u202ered\\x1b[31m\t1.0000\t1.00 ms\ta\n"


def test_every_text_is_one_object_of_jsonl(project: Callable) -> None:
    text = "\n".join(HOSTILE)
    done = predict("--input", "-", "--format", "jsonl", stdin=text.encode())
    rows = [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]
    assert [row["text"] for row in rows] == HOSTILE


@pytest.mark.parametrize("output", ["text", "csv", "jsonl"])
def test_no_lines_give_no_rows(project: Callable, output: str) -> None:
    done = predict("--input", "-", "--format", output)
    assert done.returncode == 0
    assert done.stdout == (b'"text","label","score","ms"\n' if output == "csv" else b"")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "gone.txt"], "gone.txt can't be read"),
        (["--input", "-"], "- can't be read as UTF-8 text"),
        ([], "give texts, or a file"),
        (["a text", "--input", "-"], "give texts, or a file"),
        (["--input", "data"], "data can't be read"),
        ([b"caf\xe9"], r"'caf\udce9' is not UTF-8 text; convert it"),
        (["a text", "--variant", "teacher"], "invalid choice: 'teacher'"),
    ],
)
def test_bad_input_is_named(project: Callable, arguments: list[str | bytes], message: str) -> None:
    done = predict(*arguments, stdin=b"\xff\xfe")
    assert done.returncode != 0
    assert message in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


def test_a_variant_that_was_not_made_is_named(empty: Callable) -> None:
    done = predict("a text", "--format", "csv")
    assert done.returncode == 1
    assert "no model in data/models/student/int8; make it with: dvc repro" in done.stderr.decode()
    assert done.stdout == b""


def test_another_directory_than_the_projects_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "run it from the project's root" in predict("a text").stderr.decode()
