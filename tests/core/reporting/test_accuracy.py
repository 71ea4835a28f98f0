import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from sklearn.metrics import f1_score

from stages.core.reporting.accuracy import compare, macro_f1, score


def predictions(labels: list[int], predicted: list[int], sure: float = 0.9) -> pd.DataFrame:
    """Return predictions of which the model was `sure`."""
    probability = np.where(predicted, sure, 1 - sure)
    return pd.DataFrame(
        {
            "label": labels,
            "predicted": predicted,
            "logit_negative": 0.0,
            "logit_positive": logit(probability),
        }
    )


def test_scores_of_known_predictions() -> None:
    scores = score(predictions([0, 0, 0, 1], [0, 0, 1, 1]))
    assert scores.texts == 4
    assert scores.accuracy.value == 0.75
    assert scores.macro_f1.value == pytest.approx((0.8 + 2 / 3) / 2)
    assert scores.recall == pytest.approx({"negative": 2 / 3, "positive": 1})
    assert scores.brier == pytest.approx((3 * 0.1**2 + 0.9**2) / 4)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
@settings(deadline=None)
def test_macro_f1_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    truth, guess = np.array(pairs).T
    expected = f1_score(truth, guess, average="macro")
    assert macro_f1(truth, guess, axis=-1) == pytest.approx(expected)
    twice = np.stack([truth, truth]), np.stack([guess, guess])
    assert macro_f1(*twice, axis=-1) == pytest.approx([expected, expected])


def test_the_accuracys_interval_is_wilsons() -> None:
    accuracy = score(predictions([1] * 100, [1] * 80 + [0] * 20)).accuracy
    # (0.8 + z²/200 ± z √(0.16/100 + z²/40000)) / (1 + z²/100) with z = 1.96
    assert (accuracy.low, accuracy.high) == pytest.approx((0.7112, 0.8666), abs=1e-4)


def test_a_class_that_no_text_has_has_no_recall() -> None:
    recall = score(predictions([1, 1], [1, 0])).recall
    assert np.isnan(recall["negative"])
    assert recall["positive"] == 0.5


def test_three_classes() -> None:
    table = pd.DataFrame(np.eye(3) * 5, columns=["logit_a", "logit_b", "logit_c"])
    scores = score(table.assign(label=[0, 1, 2], predicted=[0, 1, 2]))
    assert scores.recall == {"a": 1, "b": 1, "c": 1}
    assert scores.brier < 0.01


def test_comparison_with_the_teacher() -> None:
    teacher = predictions([1] * 20, [1] * 15 + [0] * 5)
    student = predictions([1] * 20, [0] * 5 + [1] * 11 + [0] * 4)
    found = compare(student, teacher)
    assert (found.better, found.worse) == (1, 5)
    assert found.agreement == 14 / 20
    assert found.retained.value == pytest.approx(11 / 15)
    assert found.retained.low < 11 / 15 < found.retained.high
    # 7 of the 64 outcomes of six fair coins have at most one head, and as many at most one tail
    assert found.p_value == pytest.approx(14 / 64)


def test_nothing_tells_a_variant_from_itself() -> None:
    teacher = predictions([0, 1, 1, 0], [0, 1, 0, 0])
    found = compare(teacher, teacher)
    assert (found.p_value, found.agreement, found.retained.value) == (1, 1, 1)
