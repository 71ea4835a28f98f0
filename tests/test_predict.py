import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stages.core.launch.errors import InputError, printable
from stages.core.launch.paths import EVALUATION, RELEASE
from stages.core.serving.classifier import load_tokenizer
from stages.core.serving.variant import Manifest, Variant
from stages.core.text.corpus import load_corpus
from stages.predict import main, note_cut, print_text
from tests.conftest import ROOT, VARIANTS

# Texts that a spreadsheet may take for a formula, or that may break a line, a row or a terminal.
HOSTILE = [
    *("=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1+1", "\r=1+1", "=cmd|'/C calc'!A0", '=HYPERLINK("x")'),
    *('a "good", fine film', "naïve 😀\u2028plot", "", "   ", "a\rb", "\x1b[31mred", "a\0b", '"'),
    *("\u202eright to left", "x" * 100_000, "word " * 20_000),
]
Predict = Callable[..., str]


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Predict:
    """Return the command, in process: from its arguments and standard input to what it prints."""

    def call(*arguments: str, stdin: bytes = b"") -> str:
        monkeypatch.setattr(sys, "argv", ["predict", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        main()
        return capsys.readouterr().out

    return call


def test_a_text_gets_label_score_and_time(project: Callable, predict: Predict) -> None:
    lines = predict("good lovely film", "an awful bad plot").splitlines()
    first, second = (line.split("\t") for line in lines)
    assert (first[0], first[3]) == ("positive", "good lovely film")
    assert (second[0], second[3]) == ("negative", "an awful bad plot")
    assert 0.5 < float(first[1]) <= 1
    assert first[2].endswith(" ms")


def test_texts_that_are_cut_are_counted(project: Callable, capsys: pytest.CaptureFixture) -> None:
    limit = load_tokenizer(RELEASE).truncation["max_length"]
    note_cut(["good film"], RELEASE)
    assert capsys.readouterr().err == ""
    note_cut(["good " * limit, "good film"], RELEASE)
    assert capsys.readouterr().err == f"note: cut at {limit} tokens: 1 of 2 texts\n"


@pytest.mark.parametrize("variant", VARIANTS)
def test_predictions_equal_those_of_evaluate(
    project: Callable, predict: Predict, variant: str
) -> None:
    texts = load_corpus()["test"]["text"][:]
    Path("texts.txt").write_text("\n".join(texts) + "\n")
    printed = predict("--input", "texts.txt", "--format", "jsonl", "--variant", variant)
    rows = [json.loads(line) for line in printed.splitlines()]
    expected = pd.read_parquet(EVALUATION / variant / "predictions.parquet")
    expected = expected[expected["split"] == "test"]["predicted"]
    assert [row["text"] for row in rows] == texts
    assert [row["label"] for row in rows] == [("negative", "positive")[i] for i in expected]


def test_without_a_variant_the_release_answers(project: Callable, predict: Predict) -> None:
    for variant in ("teacher_onnx", "student_pytorch"):
        project("release", f"release.variant={variant}")
        assert (
            Manifest.read(RELEASE).engine == Manifest.read(Variant.named(variant).directory).engine
        )
        (released,) = json_rows(predict("bad plot", "--format", "jsonl"))
        (expected,) = json_rows(predict("bad plot", "--format", "jsonl", "--variant", variant))
        assert released | {"ms": 0} == expected | {"ms": 0}


def json_rows(printed: str) -> list[dict]:
    return [json.loads(line) for line in printed.split("\n")[:-1]]


def test_every_line_of_standard_input_is_one_row_of_csv(
    project: Callable, predict: Predict
) -> None:
    text = "\ufeff" + "\r\n".join(HOSTILE) + "\r\n"
    printed = predict("--input", "-", "--format", "csv", stdin=text.encode())
    rows = list(csv.DictReader(io.StringIO(printed, newline="")))
    assert [row["text"] for row in rows] == HOSTILE


def test_every_text_is_one_line_that_a_terminal_can_show(
    project: Callable, predict: Predict
) -> None:
    lines = predict("--", *HOSTILE, "a\nb").split("\n")
    assert len(lines) - 1 == len(HOSTILE) + 1
    assert all(part == printable(part) for line in lines for part in line.split("\t"))
    assert lines[-2].endswith("a\\nb")


def test_a_label_is_printed_as_safely_as_a_text(capsys: pytest.CaptureFixture) -> None:
    print_text(iter([{"text": "a", "label": "\u202ered\x1b[31m", "score": 1.0, "ms": 1.0}]))
    assert capsys.readouterr().out == "\\u202ered\\x1b[31m\t1.0000\t1.00 ms\ta\n"


def test_every_text_is_one_object_of_jsonl(project: Callable, predict: Predict) -> None:
    text = "\n".join(HOSTILE)
    rows = json_rows(predict("--input", "-", "--format", "jsonl", stdin=text.encode()))
    assert [row["text"] for row in rows] == HOSTILE


@pytest.mark.parametrize(
    ("output", "printed"), [("text", ""), ("csv", '"text","label","score","ms"\n'), ("jsonl", "")]
)
def test_no_lines_give_no_rows(
    project: Callable, predict: Predict, output: str, printed: str
) -> None:
    assert predict("--input", "-", "--format", output) == printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "gone.txt"], "gone.txt can't be read .*; correct --input"),
        (["--input", "-"], "- is not in UTF-8 .*; convert it"),
        (["--input", "data"], "data can't be read .*; correct --input"),
        (["a text", "--variant", "teacher"], "use --variant with one of student_int8,"),
    ],
)
def test_bad_input_is_named(
    project: Callable, predict: Predict, arguments: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        predict(*arguments, stdin=b"\xff\xfe")


@pytest.mark.parametrize("arguments", [[], ["a text", "--input", "-"]])
def test_texts_come_from_one_place(
    project: Callable, predict: Predict, capsys: pytest.CaptureFixture, arguments: list[str]
) -> None:
    with pytest.raises(SystemExit):
        predict(*arguments)
    assert "give texts, or a file" in capsys.readouterr().err


def test_a_text_that_is_not_utf8_is_named(
    project: Callable, predict: Predict, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        predict("caf\udce9")
    assert r"argument TEXT: invalid utf8 value: 'caf\udce9'" in capsys.readouterr().err


def test_another_directory_than_the_projects_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, predict: Predict
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="run it from the project's root"):
        predict("a text")


def test_what_was_not_made_is_named(empty: Callable, predict: Predict) -> None:
    with pytest.raises(InputError, match="no model in data/release; make it with: dvc repro"):
        predict("a text")


@pytest.mark.parametrize(
    ("stdin", "said"), [("naïve 😀".encode(), "naïve 😀"), (b"\xff", "convert")]
)
def test_the_script_needs_no_locale_and_names_what_is_wrong(
    project: Callable, stdin: bytes, said: str
) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "stages" / "predict.py"), "--input", "-"],
        input=stdin,
        env={"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == (said == "convert")
    assert said in (done.stdout or done.stderr).decode()
    assert b"Traceback" not in done.stderr
