import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from stages.core.launch.errors import printable
from stages.core.reporting import tables
from stages.core.reporting.accuracy import mistakes
from stages.core.reporting.estimate import Estimate
from stages.core.reporting.html import renderer
from stages.core.reporting.results import MEASURES
from stages.core.reporting.tables import Column, markdown, render
from tests.core.reporting.made_up import MS, predictions, results


def lines(rows: pd.DataFrame) -> list[str]:
    """Return a table's lines of Markdown without padding."""
    return [" ".join(line.split()) for line in markdown(rows).splitlines()]


def test_a_column_formats_a_value_with_its_interval() -> None:
    data = pd.DataFrame({"size": [1.5e6, np.nan], "a": 0.5, "a_low": 0.25, "a_high": 0.75})
    columns = [
        Column("Size", lambda data: data["size"] / 1e6, "{:.1f} MB"),
        Column("Share", "a", "{:.0%}", interval=True),
        Column("Twice", lambda data: 2 * data["a"], "{:.1f}"),
    ]
    assert lines(render(data, columns)) == [
        "| Size | Share | Twice |",
        "|-------:|--------------:|--------:|",
        "| 1.5 MB | 50% (25%–75%) | 1.0 |",
        "| | 50% (25%–75%) | 1.0 |",
    ]


def test_only_an_optional_column_may_lack_its_data() -> None:
    data = pd.DataFrame({"a": [1]})
    columns = [Column("A", "a"), Column("B", "b", optional=True)]
    assert render(data, columns).columns.tolist() == ["A"]
    with pytest.raises(KeyError, match="b"):
        render(data, [Column("B", "b")])


def test_the_table_of_every_variant_has_one_row_each(table: pd.DataFrame) -> None:
    found = lines(render(table, tables.EVERY_VARIANT))
    assert found[0] == (
        "| Variant | Params | Test accuracy | Accuracy kept | Mean ms | p50 ms | × PyTorch | Size "
        "| Memory |"
    )
    assert (
        "| student int8: BERT 6×384 | 17.4M | 90.0% | 94.7% | 3.00 | 3.00 | 20.0 | 18 MB | 100 MB |"
    ) in found
    assert any(line.startswith("| teacher int8 per tensor: ") for line in found)


def test_the_post_stands_above_our_rows(table: pd.DataFrame) -> None:
    assert lines(tables.beside_the_post(table))[2:] == [
        "| BERT-base (post) | 110M | 92.3% | 198 ms | 0.0% | 100.0% |",
        "| **BERT 6×384** | **22.7M** | **95.0%** | **60 ms** | **0.0%** | **100.0%** |",
        "| ONNX + Quantized BERT (post) | 110M | 91.8% | 32 ms | 83.8% | 99.5% |",
        "| **BERT 6×384** | **22.7M** | **95.0%** | **12 ms** | **80.0%** | **100.0%** |",
        "| Distilled + Quantized (post) | 28M | 90.5% | 15 ms | 92.4% | 98.0% |",
        "| **BERT 6×384** | **17.4M** | **90.0%** | **3 ms** | **95.0%** | **94.7%** |",
    ]


def test_the_recommended_variant_stands_beside_the_post_too(table: pd.DataFrame) -> None:
    found = table.assign(recommended=table.index == "teacher_onnx")
    assert lines(tables.beside_the_post(found))[2:] == [
        *lines(tables.beside_the_post(table))[2:],
        "| **BERT 6×384** | **22.7M** | **95.0%** | **30 ms** | **50.0%** | **100.0%** |",
    ]


def test_every_step_of_the_post_stands_beside_ours(table: pd.DataFrame) -> None:
    assert lines(tables.step_by_step(table))[2:] == [
        "| Fine-tuned in PyTorch | 198 | | 60 | |",
        "| Exported to ONNX | 85 | 57% | 30 | 50% |",
        "| Quantized to INT8 | 32 | 62% | 12 | 60% |",
        "| Distilled, exported and quantized | 15 | 53% | 3 | 75% |",
    ]


def test_what_is_not_among_the_forms_is_left_out() -> None:
    kept = ("teacher_pytorch", "teacher_int8", "student_pytorch", "student_int8")
    table = results({name: MS[name] for name in kept})
    assert len(lines(tables.step_by_step(table))) == 2 + 3
    without_int8 = table.drop(["teacher_int8", "student_int8"])
    assert len(lines(tables.beside_the_post(without_int8))) == 2 + 2


def test_the_last_speedup_is_the_controls(table: pd.DataFrame) -> None:
    control = dict.fromkeys(MEASURES, Estimate(1.004, 0.998, 1.01))
    found = lines(tables.speedups(table, control, "student_int8"))
    assert found[-1].startswith("| control: student int8 against itself | 1.00 (0.998–1.01) |")
    assert not any(line.startswith("| teacher pytorch") for line in found)
    assert len(found) == 2 + len(MS)


def test_the_accuracies_have_a_recall_for_each_class(table: pd.DataFrame) -> None:
    found = render(table, tables.accuracies(table))
    assert found["Recall, good"]["student_int8"] == "90.0%"
    assert found["Worse"]["student_int8"] == "1"


def test_of_many_classes_the_lowest_recall_is_shown(table: pd.DataFrame) -> None:
    many = {f"recall_class {number}": number / 100 for number in range(77)}
    found = render(table.assign(**many), tables.accuracies(table.assign(**many)))
    assert not [title for title in found if title.startswith("Recall, ")]
    assert {*found["Lowest recall of a class"]} == {"0.0%"}


def test_the_recommended_variant_stands_out(table: pd.DataFrame) -> None:
    found = render(table, tables.choices(50, "accuracy"))["Verdict"]
    assert found["student_int8"] == "**recommended**"
    assert found["student_onnx"] == "qualifies"


def test_mistakes_are_shown_with_both_answers_and_how_sure_they_are() -> None:
    student, teacher = predictions(wrong=2), predictions(wrong=1)
    student["text"] = ["a *bold* <b>claim</b> " + 200 * "x"] * len(student)
    (row,) = lines(render(mistakes(student, teacher), tables.MISTAKES))[2:]
    assert row.startswith(r"| a \*bold\* \<b\>claim\</b\> xxx")
    assert row.endswith("x… | good | bad (97.9%) | good (97.9%) |")
    assert len(row) < 250


@given(st.text(min_size=1))
def test_any_name_is_shown_as_it_is_and_not_obeyed(name: str) -> None:
    name = f"a{name}b"
    text = markdown(pd.DataFrame({tables.literal(name): [tables.literal(name)]}))
    for parser in (MarkdownIt("gfm-like", {"linkify": False}), renderer()):
        tokens = parser.parse(text)
        shown = [token for token in tokens if token.type == "inline"]
        assert len(shown) == 2
        for token in shown:
            kinds = {child.type for child in token.children or []}
            assert kinds <= {"text", "text_special"}
            content = "".join(child.content for child in token.children or [])
            assert re.sub(" +", " ", content) == re.sub(" +", " ", printable(name))
