import html
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from stages.core.launch.paths import EVALUATION
from stages.core.serving.variant import Variant, variants
from tests.conftest import FORMS

NAMES = [variant.name for variant in variants(FORMS)]
RESULTS = Path("reports/results.md")


def test_the_report_covers_every_variant_in_its_order(project: Callable) -> None:
    table = pd.read_csv("reports/results.csv", index_col="variant")
    assert table.index.tolist() == NAMES
    assert (table["test_label_speedup"] > 0).all()
    titles = [Variant.named(name).title for name in NAMES]
    for figure in ("accuracy_latency", "distribution", "length", "batch", "profile"):
        text = Path(f"reports/{figure}.svg").read_text()
        places = [text.index(f">{title}<") for title in titles]
        assert places == sorted(places), figure
    assert "SLA 50 ms" in Path("reports/accuracy_latency.svg").read_text()
    assert "real sentences, padded" in Path("reports/batch.svg").read_text()
    assert all(f"| {title}: " in RESULTS.read_text() for title in titles)


def test_the_sweep_is_a_table(project: Callable) -> None:
    sweep = pd.read_csv("reports/sweep.csv").set_index(["variant", "length", "batch"])
    assert len(sweep) == len(NAMES) * (2 + 1) * 2
    rate = 1e3 * 3 / sweep["ms"]["student_int8", 8, 3]
    assert sweep["texts_per_second"]["student_int8", 8, 3] == pytest.approx(rate, rel=1e-3)


def test_parameters_and_sizes_are_read_from_the_artefacts(project: Callable) -> None:
    table = pd.read_csv("reports/results.csv", index_col="variant")
    for model in ("teacher", "student"):
        rows = table[table.index.str.startswith(model)]
        assert rows["parameters"].nunique() == 1
    assert table["parameters"]["student_int8"] < table["parameters"]["teacher_int8"]
    assert table["size_mb"]["teacher_int8"] < table["size_mb"]["teacher_onnx"]


def test_the_same_inputs_give_the_same_report(project: Callable) -> None:
    reports = {path: path.read_bytes() for path in Path("reports").glob("*.*")}
    project("report")
    assert reports == {path: path.read_bytes() for path in Path("reports").glob("*.*")}


def test_if_no_variant_qualifies_all_reports_and_the_release_say_so(project: Callable) -> None:
    project("report", "report.sla_ms=0.0001")
    table = pd.read_csv("reports/results.csv", index_col="variant")
    assert not table["recommended"].any()
    assert table["verdict"].str.contains("p50 exceeds the SLA by").all()
    text = RESULTS.read_text()
    assert "No variant meets the constraints: none both answers within 0.0001 ms (p50)" in text
    assert "the fastest student (no variant meets the constraints)" in text
    said = project("release")
    assert "holds no model: no variant meets the constraints" in said
    assert re.search(r"use release\.variant=student_\w+$", said)
    (readme,) = Path("data/release").iterdir()
    assert "| student int8" in readme.read_text()
    assert "p50 exceeds the SLA by" in readme.read_text()
    assert "student int8" in project("release", "release.variant=student_int8")


def test_labels_and_texts_are_shown_as_they_are_and_not_obeyed(project: Callable) -> None:
    labels = ("[x](javascript:alert(1))", "<img src=x onerror=alert(1)> &lt; $1$ ~~x~~")
    text = "<script>alert(1)</script> so|so `code` **bold** ![](x.svg)"
    for variant in NAMES:
        file = EVALUATION / variant / "predictions.parquet"
        predictions = pd.read_parquet(file).assign(text=text)
        names = zip(("logit_negative", "logit_positive"), labels, strict=True)
        predictions = predictions.rename(columns={old: f"logit_{name}" for old, name in names})
        if variant.startswith("student"):
            predictions.loc[predictions.index[-5:], "predicted"] ^= 1
        predictions.to_parquet(file)
    project("report", "report.quality_loss=0.9")
    page = Path("reports/index.html").read_text().split("<script>")[0]
    pages = [MarkdownIt("gfm-like", {"linkify": False}).render(RESULTS.read_text()), page]
    for rendered in pages:
        assert "<img src=x" not in rendered
        assert "<script" not in rendered
        attributes = re.sub(">[^<]*<", "><", re.sub('data-label="[^"]*"', "", rendered))
        assert "javascript:" not in attributes
        assert f">{html.escape(text)}</td>" in rendered
        for name in labels:
            assert f">Recall, {html.escape(name)}</th>" in rendered
