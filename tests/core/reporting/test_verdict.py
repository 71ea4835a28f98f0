import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from stages.core.reporting.verdict import pareto_front, recommend

TABLE = pd.DataFrame(
    {
        "latency": [200.0, 85.0, 32.0, 15.0],
        "accuracy": [0.92, 0.92, 0.915, 0.89],
        "kept": [1.0, 1.0, 0.995, 0.967],
        "kept_low": [1.0, 1.0, 0.985, 0.95],
        "kept_high": [1.0, 1.0, 1.005, 0.98],
    },
    index=["teacher", "onnx", "int8", "student"],
)
tables = st.lists(st.tuples(st.floats(0.1, 300), st.floats(0.5, 1)), min_size=1, max_size=8).map(
    lambda rows: pd.DataFrame(rows, columns=["latency", "accuracy"])
)


def test_the_front_of_a_known_table() -> None:
    assert pareto_front(TABLE).to_dict() == {
        "teacher": False,
        "onnx": True,
        "int8": True,
        "student": True,
    }


@given(tables)
def test_the_front_holds_the_best_and_dominates_the_rest(table: pd.DataFrame) -> None:
    front = table[pareto_front(table)]
    assert table["latency"].min() in front["latency"].to_numpy()
    assert table["accuracy"].max() in front["accuracy"].to_numpy()
    for _, row in table.iterrows():
        assert ((front["latency"] <= row["latency"]) & (front["accuracy"] >= row["accuracy"])).any()


def test_the_fastest_that_keeps_to_the_constraints_is_taken() -> None:
    verdict = recommend(TABLE, sla_ms=50, percentile="p99", allowed_loss=0.02)
    assert verdict.recommended == "int8"
    assert "Take int8" in verdict.summary
    assert "too few" not in verdict.summary
    assert verdict.reasons["student"] == "keeps 96.70% of the accuracy, not 98.0%"
    assert verdict.reasons["onnx"] == "takes 35.00 ms too long"


def test_with_more_loss_allowed_the_student_is_taken() -> None:
    verdict = recommend(TABLE, sla_ms=50, percentile="p99", allowed_loss=0.04)
    assert verdict.recommended == "student"
    assert "between 95.0% and 98.0%" in verdict.summary
    assert verdict.reasons["int8"] == "qualifies, but takes 2.1 times as long"


def test_if_none_qualifies_it_says_by_how_much() -> None:
    verdict = recommend(TABLE, sla_ms=20, percentile="p99", allowed_loss=0.02)
    assert verdict.recommended is None
    assert "takes 32.00 ms, 12.00 ms too long" in verdict.summary
    assert "within 20 ms keeps 96.7%, 1.3 points too little" in verdict.summary
    nothing_quick = recommend(TABLE, sla_ms=1, percentile="p99", allowed_loss=0.02)
    assert "None answers within 1 ms" in nothing_quick.summary


@given(tables, st.floats(0.1, 300), st.floats(0, 0.5))
def test_what_is_recommended_qualifies_and_nothing_faster_does(
    table: pd.DataFrame, sla_ms: float, loss: float
) -> None:
    table.index = table.index.astype(str)
    table = table.assign(kept=table["accuracy"], kept_low=0, kept_high=1)
    verdict = recommend(table, sla_ms, "p99", loss)
    qualified = table[(table["kept"] >= 1 - loss) & (table["latency"] <= sla_ms)]
    if verdict.recommended is None:
        assert qualified.empty
    else:
        assert qualified["latency"].min() == table["latency"][verdict.recommended]
    assert set(verdict.reasons) == set(table.index)
    assert all(verdict.reasons.values())
