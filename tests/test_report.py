import html
import json
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from stages.core.launch.errors import InputError
from stages.core.launch.paths import BENCHMARK, CONTROL, EVALUATION, VARIANTS
from stages.core.reporting.results import load_predictions

POST = [
    "| BERT-base (post) | 110M | 92.3% | 198ms |",
    "| ONNX + Quantized BERT (post) | 110M | 91.8% | 32ms |",
    "| Distilled + Quantized (post) | 28M | 90.5% | 15ms |",
]
LATENCY = dict(zip(VARIANTS, (60.0, 30.0, 12.0, 20.0, 10.0, 3.0), strict=True))
RESULTS = Path("reports/results.md")


def fake_latency(milliseconds: dict[str, float], calls: int) -> None:
    """Replace the measurement of single requests by constant latencies, in two rounds."""
    keys = product(milliseconds, ("post", "test"), ("model", "label"), (0, 1))
    rows = [
        {"variant": variant, "workload": workload, "quantity": quantity, "round": number}
        | {"length": 0, "batch": 1, "texts": 1, "padding": 0.0, "peak_mb": 100.0}
        | {"ms": milliseconds[variant]}
        for variant, workload, quantity, number in keys
        for _ in range(calls // 2)
    ]
    samples = pd.read_parquet(BENCHMARK / "samples.parquet")
    swept = samples[samples["workload"].isin(["length", "batch"])]
    pd.concat([pd.DataFrame(rows), swept]).to_parquet(BENCHMARK / "samples.parquet")


def squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_table_stands_beside_the_posts(project: Callable) -> None:
    lines = squeezed(RESULTS.read_text())
    for row in POST:
        ours = lines[lines.index(row) + 1]
        assert ours.startswith(("| **BERT 3×32, ", "| **DistilBERT 2×32, "))
    assert "| Model | Params | Accuracy | Latency |" in lines


def test_every_figure_follows_from_the_samples(project: Callable) -> None:
    fake_latency(LATENCY | {CONTROL: 3.0}, calls=1000)
    project("report", "report.sla_percentile=99")
    metrics = json.loads(Path("reports/metrics.json").read_text())
    assert metrics["summary"]["latency_reduction"] == pytest.approx(0.95)
    for variant, ms in LATENCY.items():
        assert metrics[variant]["p99_ms"] == ms
        assert metrics[variant]["speedup"] == 60 / ms
    table = pd.read_csv("reports/results.csv", index_col="variant")
    for column in ("post_model_speedup", "test_label_speedup", "test_label_speedup_low"):
        assert table[column].to_dict() == pytest.approx({v: 60 / ms for v, ms in LATENCY.items()})
    assert table["post_label_speedup_onnx"]["student_int8"] == pytest.approx(10)
    for variant in VARIANTS:
        predictions = load_predictions(variant, "test")
        right = (predictions["label"] == predictions["predicted"]).mean()
        assert table["accuracy"][variant] == pytest.approx(right, abs=1e-4)
        assert table["accuracy_low"][variant] < right <= table["accuracy_high"][variant]


def test_metrics_have_as_many_digits_as_a_run_supports(project: Callable) -> None:
    fake_latency(LATENCY | {CONTROL: 3.0, "student_int8": 3.0456, "teacher_onnx": 123.4}, calls=20)
    project("report")
    metrics = json.loads(Path("reports/metrics.json").read_text())
    assert metrics["student_int8"]["p50_ms"] == 3.0
    assert metrics["student_int8"]["speedup"] == 20
    assert metrics["teacher_onnx"]["p50_ms"] == 120
    assert all(isinstance(value, float) for group in metrics.values() for value in group.values())


def test_every_step_of_the_post_stands_beside_ours(project: Callable) -> None:
    fake_latency(LATENCY | {CONTROL: 3.0}, calls=20)
    project("report")
    lines = squeezed(RESULTS.read_text())
    assert "| Fine-tuned in PyTorch | 198 | | 60 | |" in lines
    assert "| Exported to ONNX | 85 | 57% | 30 | 50% |" in lines
    assert "| Quantized to INT8 | 32 | 62% | 12 | 60% |" in lines
    assert "| Distilled, exported and quantized | 15 | 53% | 3 | 75% |" in lines


def test_percentiles_that_few_samples_cannot_support_are_left_out(project: Callable) -> None:
    fake_latency(LATENCY | {CONTROL: 3.0}, calls=200)
    project("report")
    table = pd.read_csv("reports/results.csv")
    assert "test_label_p95_ms" in table
    assert "test_label_p99_ms" not in table
    assert "3.00 / 3.00 / 3.00" in RESULTS.read_text()
    assert "3.00 / 3.00 / 3.00 / 3.00" not in RESULTS.read_text()


def test_an_sla_at_a_percentile_that_few_samples_cannot_support_is_refused(
    project: Callable,
) -> None:
    before = RESULTS.read_bytes()
    with pytest.raises(InputError, match=r"report.sla_percentile = 99 needs 1000 calls; raise"):
        project("report", "report.sla_percentile=99")
    assert RESULTS.read_bytes() == before


def test_a_control_that_strays_is_told_at_the_top(project: Callable) -> None:
    fake_latency(LATENCY | {CONTROL: 3.0}, calls=20)
    project("report")
    assert "control differs" not in RESULTS.read_text()
    fake_latency(LATENCY | {CONTROL: 3.3}, calls=20)
    project("report")
    top = RESULTS.read_text().split("latency")[0]
    assert "> **Warning**: the control differs from its twin by -9.1% on the post's" in top


def test_a_loaded_machine_is_told_at_the_top(project: Callable) -> None:
    file = BENCHMARK / "conditions.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"others_share": 0.4}))
    project("report")
    assert "> **Warning**: other programs took 40%" in RESULTS.read_text().split("## ")[0]


def test_one_variant_is_recommended(project: Callable) -> None:
    fake_latency(LATENCY | {CONTROL: 3.0}, calls=20)
    project("report", "report.accuracy_loss=0.9")
    assert "Take student int8: of the variants" in RESULTS.read_text()
    table = pd.read_csv("reports/results.csv", index_col="variant")
    assert table.index[table["recommended"]].tolist() == ["student_int8"]
    assert table["pareto_front"]["student_int8"]
    project("report", "report.sla_ms=1")
    assert "No variant qualifies." in RESULTS.read_text()
    assert not pd.read_csv("reports/results.csv")["recommended"].any()


def test_the_sweep_is_a_table(project: Callable) -> None:
    sweep = pd.read_csv("reports/sweep.csv").set_index(["variant", "length", "batch"])
    assert len(sweep) == len(VARIANTS) * (2 + 1) * 2
    rate = 1e3 * 3 / sweep["ms"]["student_int8", 8, 3]
    assert sweep["texts_per_second"]["student_int8", 8, 3] == pytest.approx(rate, rel=1e-3)


def test_parameters_and_sizes_are_read_off_the_artefacts(project: Callable) -> None:
    table = pd.read_csv("reports/results.csv", index_col="variant")
    for model in ("teacher", "student"):
        rows = table[table.index.str.startswith(model)]
        assert rows["parameters"].nunique() == 1
    assert table["parameters"]["student_int8"] < table["parameters"]["teacher_int8"]
    assert table["size_mb"]["teacher_int8"] < table["size_mb"]["teacher_onnx"]


def test_the_same_inputs_give_the_same_report(project: Callable) -> None:
    reports = {path: path.read_bytes() for path in Path("reports").iterdir()}
    project("report")
    assert reports == {path: path.read_bytes() for path in Path("reports").iterdir()}


def test_the_figures_name_every_variant(project: Callable) -> None:
    for name in ("accuracy_latency", "length", "batch"):
        figure = Path(f"reports/{name}.svg").read_text()
        assert all(variant.replace("_", " ") in figure for variant in VARIANTS)
    assert "SLA 50 ms" in Path("reports/accuracy_latency.svg").read_text()
    assert "real sentences, padded" in Path("reports/batch.svg").read_text()


def test_variants_come_in_their_order_in_every_figure(project: Callable) -> None:
    for name in ("accuracy_latency", "distribution", "length", "batch", "profile"):
        figure = Path(f"reports/{name}.svg").read_text()
        places = [figure.index(f">{variant.replace('_', ' ')}<") for variant in VARIANTS]
        assert places == sorted(places), name


@pytest.mark.parametrize(
    "labels",
    [
        ("<script>alert(1)</script>", "so|so"),
        ("`code` **bold**", r"back\|slash \\"),
        ("[x](javascript:alert(1))", "<img src=x onerror=alert(1)> &lt; $1$ ~~x~~"),
    ],
)
def test_a_label_is_shown_as_it_is_and_not_obeyed(project: Callable, labels: tuple) -> None:
    for variant in VARIANTS:
        file = EVALUATION / variant / "predictions.parquet"
        predictions = pd.read_parquet(file)
        predictions.columns = [*predictions.columns[:-2], *(f"logit_{name}" for name in labels)]
        predictions.to_parquet(file)
    project("report")
    page = Path("reports/index.html").read_text().split("<script>")[0]
    pages = [MarkdownIt("gfm-like", {"linkify": False}).render(RESULTS.read_text()), page]
    for rendered in pages:
        assert "<img src=x" not in rendered
        assert "<script" not in rendered
        assert "javascript:" not in re.sub(">[^<]*<", "><", rendered)  # in no attribute
        for name in labels:
            assert f">Recall, {html.escape(name)}</th>" in rendered
