import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stages.core.corpus import load_corpus
from stages.core.layout import EVALUATION, VARIANTS

SCRIPT = Path(__file__).parents[1] / "stages" / "predict.py"


def predict(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], input=stdin, capture_output=True, check=False
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


def test_every_line_of_standard_input_is_one_row_of_csv(project: Callable) -> None:
    lines = ['a "good", fine film', "naïve 😀\u2028plot", "", "=1+1"]
    text = "\ufeff" + "\r\n".join(lines) + "\r\n"
    done = predict("--input", "-", "--format", "csv", stdin=text.encode())
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode(), newline="")))
    assert [row["text"] for row in rows] == lines
    assert set(rows[0]) == {"text", "label", "score", "ms"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "gone.txt"], "gone.txt can't be read"),
        (["--input", "-"], "- can't be read as UTF-8 text"),
        ([], "give texts, or a file"),
        (["a text", "--input", "-"], "give texts, or a file"),
        (["a text", "--variant", "teacher"], "invalid choice: 'teacher'"),
    ],
)
def test_bad_input_is_named(project: Callable, arguments: list[str], message: str) -> None:
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
