import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stages.core.layout import BENCHMARK, VARIANTS

POST = [
    "| BERT-base (post) | 110M | 92.3% | 198ms |",
    "| ONNX + Quantized BERT (post) | 110M | 91.8% | 32ms |",
    "| Distilled + Quantized (post) | 28M | 90.5% | 15ms |",
]


def fake_latency(milliseconds: dict[str, float], calls: int) -> None:
    """Replace the measurement by constant latencies."""
    rows = [
        {"variant": variant, "workload": workload, "round": 0, "ms": ms}
        for variant, ms in milliseconds.items()
        for workload in ("post", "test")
        for _ in range(calls)
    ]
    pd.DataFrame(rows).to_parquet(BENCHMARK / "samples.parquet")


def squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_table_stands_beside_the_posts(project: Callable) -> None:
    lines = squeezed(Path("reports/results.md").read_text())
    for row in POST:
        ours = lines[lines.index(row) + 1]
        assert ours.startswith(("| **BERT 3×32, ", "| **DistilBERT 2×32, "))
    assert "| Model | Params | Accuracy | Latency |" in lines


def test_every_figure_follows_from_the_samples(project: Callable) -> None:
    latency = dict(zip(VARIANTS, (60.0, 30.0, 12.0, 20.0, 10.0, 3.0), strict=True))
    fake_latency(latency, calls=1000)
    project("report")
    metrics = json.loads(Path("reports/metrics.json").read_text())
    assert metrics["summary"]["latency_reduction"] == pytest.approx(0.95)
    for variant, ms in latency.items():
        assert metrics[variant]["latency_ms"] == dict.fromkeys(
            ("post", "mean", "p50", "p95", "p99"), ms
        )
    table = pd.read_csv("reports/results.csv", index_col="variant")
    assert table["speedup"].to_dict() == pytest.approx({v: 60 / ms for v, ms in latency.items()})
    assert table["speedup_over_onnx"]["student_int8"] == pytest.approx(10)
    assert table["sla_met"].to_dict() == {v: ms <= 50 for v, ms in latency.items()}
    for variant in VARIANTS:
        scores = json.loads(Path(f"data/evaluation/{variant}/scores.json").read_text())
        assert table["accuracy"][variant] == pytest.approx(scores["test"]["accuracy"], abs=1e-4)


def test_every_step_of_the_post_stands_beside_ours(project: Callable) -> None:
    latency = dict(zip(VARIANTS, (60.0, 30.0, 12.0, 20.0, 10.0, 3.0), strict=True))
    fake_latency(latency, calls=20)
    project("report")
    lines = squeezed(Path("reports/results.md").read_text())
    assert "| Fine-tuned in PyTorch | 198 | | 60 | |" in lines
    assert "| Exported to ONNX | 85 | 57% | 30 | 50% |" in lines
    assert "| Quantized to INT8 | 32 | 62% | 12 | 60% |" in lines
    assert "| Distilled, exported and quantized | 15 | 53% | 3 | 75% |" in lines


def test_percentiles_that_few_samples_cannot_support_are_left_out(project: Callable) -> None:
    fake_latency(dict.fromkeys(VARIANTS, 1.0), calls=200)
    project("report")
    page = Path("reports/results.md").read_text()
    assert "p95" in page
    assert "p99" not in page


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


def test_the_figure_names_every_variant(project: Callable) -> None:
    figure = Path("reports/accuracy_latency.svg").read_text()
    for label in pd.read_csv("reports/results.csv")["label"]:
        assert label in figure
    assert "SLA 50 ms" in figure
