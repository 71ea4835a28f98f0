import numpy as np
import pandas as pd
import pytest

from stages.core.launch.settings import CONTROL
from stages.core.measuring.samples import of_measure
from stages.core.reporting.latency import speedup
from stages.core.reporting.results import (
    bottleneck,
    control,
    fastest_student,
    headliner,
    latencies,
)
from stages.core.reporting.verdict import recommend
from stages.report import metrics
from tests.conftest import configured
from tests.core.reporting.made_up import MS, NAMES, results, samples


def test_every_figure_follows_from_samples_and_predictions(table: pd.DataFrame) -> None:
    expected = {name: 60 / ms for name, ms in MS.items()}
    for column in ("post_model_speedup", "test_label_speedup", "test_label_speedup_low"):
        assert table[column].to_dict() == pytest.approx(expected)
    assert table["test_label_p50_ms"].to_dict() == pytest.approx(MS)
    assert table["accuracy"]["teacher_onnx"] == pytest.approx(0.95)
    assert table["accuracy_low"]["student_int8"] < 0.9 < table["accuracy_high"]["student_int8"]
    assert table["accuracy_retained"]["student_int8"] == pytest.approx(0.9 / 0.95)
    assert table.index.tolist() == NAMES


def test_the_control_widens_every_interval_but_the_baselines() -> None:
    measured = samples(MS | {CONTROL: 3.3})
    found = control(measured, "student_int8")
    assert found["test_label"].value == pytest.approx(3 / 3.3)
    table = latencies(measured, noise=0.1)
    assert table["test_label_speedup_high"]["student_int8"] == pytest.approx(20 * 1.1)
    assert table["test_label_speedup_high"]["teacher_pytorch"] == 1


def test_an_unknown_peak_of_memory_stays_unknown() -> None:
    measured = samples(MS)
    measured.loc[measured["variant"] == "student_int8", "peak_mb"] = np.nan
    peaks = latencies(measured, 0.0)["peak_mb"]
    assert np.isnan(peaks.pop("student_int8"))
    assert (peaks == 100).all()


def test_a_percentile_of_the_variant_with_the_fewest_calls_decides_for_all() -> None:
    measured = samples({name: MS[name] for name in ("teacher_pytorch", "student_int8")}, calls=200)
    few = measured["variant"] == "student_int8"
    assert "test_label_p95_ms" in latencies(measured, 0.0)
    thinned = pd.concat([measured[~few], measured[few].iloc[::2]])
    assert "test_label_p95_ms" not in latencies(thinned, 0.0)


def test_the_headline_is_about_the_recommended_variant_or_the_fastest_student(
    table: pd.DataFrame,
) -> None:
    assert headliner(table) == "student_int8"
    assert headliner(table.assign(recommended=table.index == "teacher_onnx")) == "teacher_onnx"
    assert headliner(table.assign(recommended=False)) == "student_int8_per_tensor"
    assert fastest_student(table) == "student_int8_per_tensor"


def spiky() -> pd.DataFrame:
    """Return samples of a student in INT8 that is faster than in ONNX, but for a few calls."""
    ms = {"teacher_pytorch": 9.4, "student_onnx": 0.94, "student_int8": 0.53}
    measured = samples(ms, calls=1000, rounds=25)
    calls = np.flatnonzero(measured["variant"] == "student_int8")
    measured.loc[calls[::80], "ms"] = 4.46
    return measured


def test_a_slow_tail_within_the_sla_does_not_cost_the_fastest_its_recommendation() -> None:
    measured = spiky()
    names = ("teacher_pytorch", "student_onnx", "student_int8")
    table = results({name: MS[name] for name in names}, wrong=1)
    table = table.assign(**latencies(measured, 0.02))
    assert table["test_label_p99_ms"]["student_int8"] == pytest.approx(4.46)
    measured = of_measure(measured, "test_label")
    constraints = configured("report.sla_percentile=99", "report.quality_loss=0.02").report
    found, tied = recommend(
        table,
        lambda *pair: speedup(measured, *pair).widened(0.02),
        constraints,
    )
    assert tied == []
    assert found["recommended"]["student_int8"]
    assert found["verdict"]["student_onnx"].startswith("qualifies, but takes 1.77 times as long")


def test_metrics_are_rounded_and_leave_accuracies_to_evaluate(table: pd.DataFrame) -> None:
    precise = table.assign(test_label_p50_ms=table["test_label_p50_ms"] * 1.0123)
    found = metrics(precise, 50)
    assert found["summary"] == {"latency_reduction": 0.95, "accuracy_retained": 0.9474}
    assert found["student_int8"] == {
        "speedup": 20.0,
        "p50_ms": 3.0,
        "requests_per_second": 170.0,
        "parameters_m": 17.4,
        "size_mb": 18.4,
    }
    assert found["teacher_pytorch"]["p50_ms"] == 61
    assert list(found) == ["summary", *NAMES]


def test_the_bottleneck_names_the_three_longest_kinds() -> None:
    rows = [("student_int8", kind, ms) for kind, ms in zip("abcd", (1, 5, 2, 2.5), strict=True)]
    profile = pd.DataFrame(rows, columns=["variant", "kind", "ms"])
    expected = "student int8: b 5 ms (48%), d 2.5 ms (24%), c 2 ms (19%)"
    assert bottleneck(profile, "student_int8") == expected
