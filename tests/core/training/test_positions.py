from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from stages.core.training.positions import longest_text


def classifier(family: str, **changes: Any) -> PreTrainedModel:
    shape = {"vocab_size": 30, "num_attention_heads": 2, "num_hidden_layers": 1}
    widths = {"dim" if family == "distilbert" else "hidden_size": 16}
    config = AutoConfig.for_model(family, **shape, **widths, **changes)
    return AutoModelForSequenceClassification.from_config(config).eval()


@pytest.mark.parametrize(
    ("family", "positions", "longest"),
    [
        ("bert", 64, 64),
        ("distilbert", 64, 64),
        ("electra", 64, 64),
        ("roberta", 66, 64),
        ("mpnet", 66, 64),
        ("nystromformer", 64, 64),
    ],
)
def test_the_longest_text_can_be_read_and_a_longer_one_cannot(
    family: str, positions: int, longest: int
) -> None:
    model = classifier(family, max_position_embeddings=positions, pad_token_id=1)
    assert longest_text(model.config) == longest
    with torch.no_grad():
        assert model(torch.full((1, longest), 5)).logits.isfinite().all()
        with pytest.raises((IndexError, RuntimeError)):
            model(torch.full((1, longest + 1), 5))


def test_a_model_without_a_position_table_reads_what_its_config_says() -> None:
    config = AutoConfig.for_model("modernbert", num_hidden_layers=1, max_position_embeddings=99)
    assert longest_text(config) == 99
