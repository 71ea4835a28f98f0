from collections.abc import Callable

import numpy as np
import pandas as pd
from hypothesis import assume, given
from hypothesis import strategies as st

from stages.core.launch.settings import ReportConfig
from stages.core.reporting.latency import Estimate
from stages.core.reporting.verdict import Verdict, pareto_front, recommend

TABLE = pd.DataFrame(
    {
        "latency": [200.0, 85.0, 32.0, 15.0],
        "speed": [1.0, 2.0, 6.0, 14.0],
        "accuracy": [0.92, 0.92, 0.915, 0.89],
        "kept": [1.0, 1.0, 0.995, 0.967],
        "kept_low": [1.0, 1.0, 0.985, 0.95],
        "kept_high": [1.0, 1.0, 1.005, 0.98],
    },
    index=["teacher_pytorch", "teacher_onnx", "teacher_int8_per_tensor", "student_int8"],
)
rows = st.tuples(st.floats(0.1, 300), st.floats(0.5, 40), st.floats(0.5, 1))
tables = st.lists(rows, min_size=1, max_size=8).map(
    lambda found: pd.DataFrame(
        found,
        columns=["latency", "speed", "accuracy"],
        index=[f"student_{number}" for number in range(len(found))],
    ).assign(kept=lambda table: table["accuracy"], kept_low=0, kept_high=1)
)
constraints = st.builds(
    ReportConfig,
    sla_ms=st.floats(0.1, 300),
    sla_percentile=st.just(99),
    accuracy_loss=st.floats(0, 0.5),
)


def exact(table: pd.DataFrame, noise: float = 0) -> Callable[[str, str], Estimate]:
    """Return ratios whose intervals reach `noise` to both sides."""

    def ratio(variant: str, other: str) -> Estimate:
        value = table["speed"][variant] / table["speed"][other]
        return Estimate(value, value, value).widened(noise)

    return ratio


def verdict(sla_ms: float = 50, loss: float = 0.02, noise: float = 0) -> Verdict:
    settings = ReportConfig(sla_ms=sla_ms, sla_percentile=99, accuracy_loss=loss)
    return recommend(TABLE, exact(TABLE, noise), settings)


def qualifying(table: pd.DataFrame, settings: ReportConfig) -> pd.DataFrame:
    accurate = table["kept"] >= 1 - settings.accuracy_loss
    return table[accurate & (table["latency"] <= settings.sla_ms)]


def test_the_front_of_a_known_table() -> None:
    assert pareto_front(TABLE).tolist() == [False, True, True, True]


@given(tables)
def test_the_front_holds_the_best_and_dominates_the_rest(table: pd.DataFrame) -> None:
    front = table[pareto_front(table)]
    assert table["speed"].max() in front["speed"].to_numpy()
    assert table["accuracy"].max() in front["accuracy"].to_numpy()
    for _, row in table.iterrows():
        assert ((front["speed"] >= row["speed"]) & (front["accuracy"] >= row["accuracy"])).any()


def test_the_fastest_that_meets_the_constraints_is_recommended() -> None:
    found = verdict()
    assert found.recommended == "teacher_int8_per_tensor"
    assert "Use teacher int8 per tensor: " in found.summary
    assert "it is the fastest (p99 32.00 ms, 99.5% kept)" in found.summary
    assert "too few" not in found.summary
    assert found.reasons["student_int8"] == "keeps 96.70% of the accuracy, not 98.0%"
    assert found.reasons["teacher_onnx"] == "p99 exceeds the SLA by 35.00 ms"


def test_with_more_loss_allowed_the_student_is_recommended() -> None:
    found = verdict(loss=0.04)
    assert found.recommended == "student_int8"
    assert "the 95 % interval of the share kept is 95.0% to 98.0%" in found.summary
    reason = "qualifies, but takes 2.33 times as long as the fastest"
    assert found.reasons["teacher_int8_per_tensor"] == reason


def test_of_those_within_the_noise_the_more_accurate_is_recommended() -> None:
    found = verdict(loss=0.04, noise=0.6)  # 2.33 × (1 − 0.6) < 1
    assert found.recommended == "teacher_int8_per_tensor"
    assert "a tie with student int8 within the noise" in found.summary
    assert "no more accurate" in found.reasons["student_int8"]


def test_if_none_qualifies_the_summary_says_by_how_much() -> None:
    found = verdict(sla_ms=20)
    assert found.recommended is None
    assert "the lowest p99 is 32.00 ms, 12.00 ms over the SLA" in found.summary
    assert "within 20 ms keeps 96.7%, 1.3 points too little" in found.summary
    assert "None answers within 1 ms" in verdict(sla_ms=1).summary


@given(tables, constraints)
def test_without_noise_no_faster_variant_qualifies(
    table: pd.DataFrame, settings: ReportConfig
) -> None:
    found, qualified = recommend(table, exact(table), settings), qualifying(table, settings)
    if found.recommended is None:
        assert qualified.empty
    else:
        assert qualified["speed"].max() == qualified["speed"][found.recommended]
    assert set(found.reasons) == set(table.index)
    assert all(found.reasons.values())


@given(tables, constraints, st.floats(0, 0.3))
def test_no_qualifying_variant_is_clearly_faster_or_tied_and_more_accurate(
    table: pd.DataFrame, settings: ReportConfig, noise: float
) -> None:
    ratio, qualified = exact(table, noise), qualifying(table, settings)
    assume(not qualified.empty)
    chosen = recommend(table, ratio, settings).recommended
    assert chosen is not None
    fastest = str(qualified["speed"].idxmax())
    assert chosen == fastest or ratio(fastest, chosen).low <= 1
    tied = [each for each in qualified.index if each == fastest or ratio(fastest, each).low <= 1]
    assert qualified["accuracy"][chosen] == qualified["accuracy"][tied].max()


@given(tables, constraints, st.floats(0.01, 1))
def test_a_tail_within_the_sla_does_not_change_the_verdict(
    table: pd.DataFrame, settings: ReportConfig, share: float
) -> None:
    other = table.assign(
        latency=np.where(table["latency"] <= settings.sla_ms, share * settings.sla_ms, np.inf)
    )
    found, again = (recommend(each, exact(table), settings) for each in (table, other))
    assert found.recommended == again.recommended
