from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stages.core.launch.settings import ReportConfig
from stages.core.reporting.estimate import Estimate
from stages.core.reporting.results import SPEED, recommended
from stages.core.reporting.verdict import doubts, faults, recommend, summary
from tests.conftest import configured

CONSTRAINTS = configured("report.sla_percentile=99", "report.quality=accuracy").report
LATENCY, QUALITY, KEPT = "test_label_p99_ms", "validation_quality", "validation_retained"
TABLE = pd.DataFrame(
    {
        LATENCY: [200.0, 85.0, 32.0, 15.0],
        SPEED: [1.0, 2.0, 6.0, 14.0],
        QUALITY: [0.92, 0.92, 0.915, 0.89],
        KEPT: [1.0, 1.0, 0.995, 0.967],
        f"{KEPT}_low": [1.0, 1.0, 0.985, 0.95],
        f"{KEPT}_high": [1.0, 1.0, 1.005, 0.98],
        "single_rps": [0.0, 10.0, 40.0, 90.0],
        "single_rps_low": [0.0, 9.0, 35.0, 82.0],
        "single_rps_high": [0.0, 11.0, 45.0, 98.0],
    },
    index=["teacher_pytorch", "teacher_onnx", "teacher_int8_per_tensor", "student_int8"],
)
shares = st.integers(5_000, 10_000).map(lambda number: number / 1e4)  # no rounding decides
rows = st.tuples(st.floats(0.1, 300), st.floats(0.5, 40), shares)
tables = (
    st.lists(rows, min_size=1, max_size=8)
    .map(
        lambda found: pd.DataFrame(
            found,
            columns=[LATENCY, SPEED, QUALITY],
            index=[f"student_{number}" for number in range(len(found))],
        ).assign(**{KEPT: lambda table: table[QUALITY], f"{KEPT}_low": 0, f"{KEPT}_high": 1})
    )
    .map(lambda table: table.assign(single_rps=0, single_rps_low=0, single_rps_high=0))
)
constraints = st.builds(
    ReportConfig,
    sla_ms=st.floats(0.1, 300),
    sla_percentile=st.just(99),
    quality=st.just("accuracy"),
    quality_loss=st.floats(0, 0.5),
    requests_per_second=st.none(),
)


def exact(table: pd.DataFrame, noise: float = 0) -> Callable[[str, str], Estimate]:
    """Return ratios whose intervals reach `noise` to both sides."""

    def ratio(variant: str, other: str) -> Estimate:
        value = table[SPEED][variant] / table[SPEED][other]
        return Estimate(value, value, value).widened(noise)

    return ratio


def asked(sla_ms: float = 50, loss: float = 0.02, rps: float | None = None) -> ReportConfig:
    update = {"sla_ms": sla_ms, "quality_loss": loss, "requests_per_second": rps}
    return CONSTRAINTS.model_copy(update=update)


def verdict(
    sla_ms: float = 50, loss: float = 0.02, noise: float = 0, rps: float | None = None
) -> tuple[str | None, pd.Series, str]:
    """Return the recommended variant, each variant's reason, and the summary."""
    constraints = asked(sla_ms, loss, rps)
    table, tied = recommend(TABLE, exact(TABLE, noise), constraints)
    return recommended(table), table["verdict"], summary(table, tied, constraints)


def test_a_variant_that_stands_less_load_than_wanted_does_not_qualify() -> None:
    chosen, reasons, said = verdict(loss=0.1, rps=50)
    assert chosen == "student_int8"
    assert "of the variants that answer 50 requests a second within 50 ms (p99)" in said
    assert reasons["teacher_int8_per_tensor"] == "answers 40 requests a second, not 50"
    assert "may sustain" not in said
    said = verdict(loss=0.1, rps=88)[2]
    assert "It may sustain less than 88 requests a second: the 95% interval is 82 to 98." in said
    chosen, reasons, said = verdict(rps=50)
    assert chosen is None
    assert "none both answers 50 requests a second within 50 ms (p99) and keeps" in said
    assert reasons["teacher_onnx"] == (
        "p99 exceeds the SLA by 35.00 ms; answers 10 requests a second, not 50"
    )


def test_a_variant_at_the_bound_itself_qualifies() -> None:
    kept = (735 / 1007) / (750 / 1007)  # 98%, but for the rounding of floats
    assert kept < 1 - 0.02
    table = TABLE.assign(**{KEPT: [1.0, 1.0, kept, kept]})
    assert faults(table, asked())["student_int8"] == ""


def qualifying(table: pd.DataFrame, settings: ReportConfig) -> pd.DataFrame:
    accurate = table[KEPT] >= 1 - settings.quality_loss
    return table[accurate & (table[LATENCY] <= settings.sla_ms)]


def test_the_fastest_that_meets_the_constraints_is_recommended() -> None:
    chosen, reasons, said = verdict()
    assert chosen == "teacher_int8_per_tensor"
    assert "Use teacher int8 per tensor: " in said
    assert "it is the fastest (p99 32.00 ms, 99.5% kept)" in said
    assert "too few" not in said
    assert reasons["student_int8"] == "keeps 96.70% of the accuracy, not 98.0%"
    assert reasons["teacher_onnx"] == "p99 exceeds the SLA by 35.00 ms"


def test_with_more_loss_allowed_the_student_is_recommended() -> None:
    chosen, reasons, said = verdict(loss=0.04)
    assert chosen == "student_int8"
    assert "the 95% interval of the share kept is 95.0% to 98.0%" in said
    reason = "qualifies, but takes 2.33 times as long as the fastest"
    assert reasons["teacher_int8_per_tensor"] == reason


def test_of_those_within_the_noise_the_better_is_recommended() -> None:
    chosen, reasons, said = verdict(loss=0.04, noise=0.6)  # 2.33 × (1 − 0.6) < 1
    assert chosen == "teacher_int8_per_tensor"
    assert "a tie with student int8 within the noise" in said
    assert "ties with it is better" in reasons["student_int8"]


def test_if_none_qualifies_the_verdict_says_by_how_much_each_misses() -> None:
    chosen, reasons, said = verdict(sla_ms=20)
    assert chosen is None
    assert "none both answers within 20 ms (p99) and keeps at least 98.0%" in said
    assert reasons["teacher_int8_per_tensor"] == "p99 exceeds the SLA by 12.00 ms"
    both = verdict(sla_ms=1)[1]["student_int8"]
    assert both == "p99 exceeds the SLA by 14.00 ms; keeps 96.70% of the accuracy, not 98.0%"


@given(tables, constraints)
def test_without_noise_no_faster_variant_qualifies(
    table: pd.DataFrame, settings: ReportConfig
) -> None:
    found, _ = recommend(table, exact(table), settings)
    chosen, qualified = recommended(found), qualifying(table, settings)
    if chosen is None:
        assert qualified.empty
    else:
        assert qualified[SPEED].max() == qualified[SPEED][chosen]
    assert found["verdict"].str.len().gt(0).all()


@given(tables, constraints, st.floats(0, 0.3))
def test_no_qualifying_variant_is_clearly_faster_or_tied_and_better(
    table: pd.DataFrame, settings: ReportConfig, noise: float
) -> None:
    ratio, qualified = exact(table, noise), qualifying(table, settings)
    assume(not qualified.empty)
    chosen = recommended(recommend(table, ratio, settings)[0])
    assert chosen is not None
    fastest = str(qualified[SPEED].idxmax())
    assert chosen == fastest or ratio(fastest, chosen).low <= 1
    tied = [each for each in qualified.index if each == fastest or ratio(fastest, each).low <= 1]
    assert qualified[QUALITY][chosen] == qualified[QUALITY][tied].max()


@given(tables, constraints, st.floats(0.01, 1))
def test_a_tail_within_the_sla_does_not_change_the_verdict(
    table: pd.DataFrame, settings: ReportConfig, share: float
) -> None:
    met = table[LATENCY] <= settings.sla_ms
    other = table.assign(**{LATENCY: np.where(met, share * settings.sla_ms, np.inf)})
    found, again = (recommend(each, exact(table), settings)[0] for each in (table, other))
    assert recommended(found) == recommended(again)


def judged(
    accuracy: float, majority: float, *recalls: float, support: int = 20
) -> dict[str, float]:
    values = {"validation_accuracy": accuracy, "validation_majority": majority}
    values |= {f"validation_support_{name}": support for name in ("ham", "spam")}
    return values | {
        f"{prefix}recall_{name}": recall
        for name, recall in zip(("ham", "spam"), recalls, strict=True)
        for prefix in ("", "validation_")
    }


@pytest.mark.parametrize(
    ("student", "said"),
    [
        (judged(0.98, 0.97, 1.0, 0.5), []),
        (judged(0.975, 0.97, 1.0, 0.2), ["finds 20% of the validation texts of 'spam'"]),
        (judged(0.975, 0.97, 1.0, 0.3, support=8), []),  # four texts, by chance
        (judged(0.975, 0.97, 0.4, 0.3, support=10), ["'ham', the teacher 100%; 30% of"]),
        (judged(0.97, 0.97, 1.0, 0.0), ["no more than always answering", "finds 0%"]),
    ],
)
def test_a_variant_that_gave_up_a_class_is_doubted(student: dict, said: list[str]) -> None:
    teacher = judged(0.99, 0.97, 1.0, 0.8)
    table = pd.DataFrame([teacher, student], index=["teacher_pytorch", "student_int8"])
    found = doubts(table, "student_int8")
    assert len(found) == len(said)
    assert all(part in line for part, line in zip(said, found, strict=True))
    assert doubts(table, "teacher_pytorch") == []
