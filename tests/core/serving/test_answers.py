from collections.abc import Callable

import numpy as np
import pytest

from stages.core.engines import Inputs
from stages.core.serving.answers import warm_up
from stages.core.serving.classifier import Classifier, load_tokenizer
from stages.core.serving.variant import Variant


@pytest.mark.parametrize(("seconds", "expected"), [(60, [32, *range(2, 32)]), (0, [32])])
def test_each_length_is_warmed_up_once_until_the_time_is_over(
    project: Callable, monkeypatch: pytest.MonkeyPatch, seconds: float, expected: list[int]
) -> None:
    lengths = []

    def logits(inputs: Inputs) -> np.ndarray:
        assert all(values.all() for values in (inputs["input_ids"], inputs["attention_mask"]))
        assert {values.shape for values in inputs.values()} == {(1, inputs["input_ids"].size)}
        lengths.append(inputs["input_ids"].size)
        return np.zeros((1, 2))

    monkeypatch.setattr("stages.core.serving.answers.WARM_UP_SECONDS", seconds)
    tokenizer = load_tokenizer(Variant("student", "int8").directory)
    warm_up(Classifier(logits, ["negative", "positive"], 1), tokenizer)
    assert lengths == expected
