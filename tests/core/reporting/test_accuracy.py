import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from sklearn.metrics import f1_score

from stages.core.launch.errors import InputError
from stages.core.reporting.accuracy import compare, judged, mistakes, retained, score
from stages.core.task.metrics import MEASURES, macro_f1


def predictions(labels: list[int], predicted: list[int], sure: float = 0.9) -> pd.DataFrame:
    """Return predictions of which the model was `sure`."""
    probability = np.where(predicted, sure, 1 - sure)
    return pd.DataFrame(
        {
            "text": [f"text {number}" for number in range(len(labels))],
            "label": labels,
            "predicted": predicted,
            "logit_negative": 0.0,
            "logit_positive": logit(probability),
        }
    )


def test_scores_of_known_predictions() -> None:
    scores = score(predictions([0, 0, 0, 1], [0, 0, 1, 1]))
    assert scores["accuracy"] == 0.75
    assert scores["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert scores["macro_f1_low"] <= scores["macro_f1"] <= scores["macro_f1_high"]
    assert scores["recall_negative"] == pytest.approx(2 / 3)
    assert scores["recall_positive"] == 1
    assert scores["brier"] == pytest.approx((3 * 0.1**2 + 0.9**2) / 4)


def test_a_new_metric_of_the_task_is_among_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEASURES, "errors", lambda labels, answers: 1.0)
    assert score(predictions([0, 1], [0, 1]))["errors"] == 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
@settings(deadline=None)
def test_macro_f1_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    truth, guess = np.array(pairs).T
    expected = f1_score(truth, guess, average="macro")
    assert macro_f1(truth, guess, axis=-1) == pytest.approx(expected)
    twice = np.stack([truth, truth]), np.stack([guess, guess])
    assert macro_f1(*twice, axis=-1) == pytest.approx([expected, expected])


def test_the_accuracys_interval_is_wilsons() -> None:
    scores = score(predictions([1] * 100, [1] * 80 + [0] * 20))
    # (0.8 + z²/200 ± z √(0.16/100 + z²/40000)) / (1 + z²/100) with z = 1.96
    interval = scores["accuracy_low"], scores["accuracy_high"]
    assert interval == pytest.approx((0.7112, 0.8666), abs=1e-4)


def test_a_class_without_texts_has_no_recall() -> None:
    scores = score(predictions([1, 1], [1, 0]))
    assert np.isnan(scores["recall_negative"])
    assert scores["recall_positive"] == 0.5


def test_three_classes() -> None:
    table = pd.DataFrame(np.eye(3) * 5, columns=["logit_a", "logit_b", "logit_c"])
    scores = score(table.assign(label=[0, 1, 2], predicted=[0, 1, 2]))
    assert [scores[f"recall_{name}"] for name in "abc"] == [1, 1, 1]
    assert scores["brier"] < 0.01


def test_comparison_with_the_teacher() -> None:
    teacher = predictions([1] * 20, [1] * 15 + [0] * 5)
    student = predictions([1] * 20, [0] * 5 + [1] * 11 + [0] * 4)
    found = compare(student, teacher)
    assert (found["better"], found["worse"]) == (1, 5)
    assert found["agreement"] == 14 / 20
    # 7 of the 64 outcomes of six fair coins have at most one head, and as many at most one tail
    assert found["p_value"] == pytest.approx(14 / 64)
    share = retained(student, teacher)
    assert share.value == pytest.approx(11 / 15)
    assert share.low < 11 / 15 < share.high


def test_a_variant_does_not_differ_from_itself() -> None:
    teacher = predictions([0, 1, 1, 0] * 5, [0, 1, 0, 0] * 5)
    found = compare(teacher, teacher)
    assert (found["p_value"], found["agreement"]) == (1, 1)
    assert retained(teacher, teacher).value == 1
    assert mistakes(teacher, teacher).empty


def test_a_teacher_whose_answers_are_all_wrong_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"teacher's accuracy is 0%.*is data\.label_names in the o"
    ):
        retained(predictions([1], [1]), predictions([1], [0]))


def test_mistakes_are_of_the_student_alone_and_the_surest_come_first() -> None:
    labels = [0, 0, 1, 1, 1]
    teacher = predictions(labels, [0, 0, 1, 1, 0], sure=0.8)
    student = predictions(labels, [1, 0, 0, 0, 0])
    student["logit_positive"] = logit([0.7, 0.1, 0.2, 0.05, 0.01])
    found = mistakes(student, teacher)
    assert found["text"].tolist() == ["text 3", "text 2", "text 0"]
    assert found["label"].tolist() == ["positive", "positive", "negative"]
    assert found["answer"].tolist() == ["negative", "negative", "positive"]
    assert found["confidence"].tolist() == pytest.approx([0.95, 0.8, 0.7])
    assert found["teacher_confidence"].tolist() == pytest.approx([0.8] * 3)


RARE = [0] * 96 + [1] * 4


@pytest.mark.parametrize(
    ("measure", "share"),
    [("accuracy", 96 / 99), ("macro_f1", None), ("recall_positive", 0.0), ("recall_negative", 1.0)],
)
def test_the_share_kept_is_of_the_measure_that_is_asked_for(
    measure: str, share: float | None
) -> None:
    teacher = predictions(RARE, [0] * 97 + [1] * 3)
    student = predictions(RARE, [0] * 100)
    found = retained(student, teacher, measure)
    expected = f1_score(RARE, [0] * 100, average="macro") / f1_score(
        RARE, [0] * 97 + [1] * 3, average="macro"
    )
    assert found.value == pytest.approx(expected if share is None else share)
    assert 0 <= found.low <= found.high <= 1
    row = judged(student, teacher, measure)
    assert row["validation_majority"] == row["validation_accuracy"] == 0.96
    assert row["validation_recall_positive"] == 0


def test_a_measure_of_no_class_is_named() -> None:
    with pytest.raises(InputError, match="'recall_neutral', but the classes are negative, posi"):
        judged(predictions([0], [0]), predictions([0], [0]), "recall_neutral")
