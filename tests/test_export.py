from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from stages import export
from stages.core.corpus import load_corpus
from stages.core.errors import InputError
from stages.core.inference import Classifier, Inputs, encode, load_classifier, load_tokenizer
from stages.core.layout import variant_directory


@pytest.mark.parametrize("model", ["teacher", "student"])
def test_the_logits_equal_pytorchs_on_every_text_and_in_a_batch(
    project: Callable, model: str
) -> None:
    checkpoint, exported = (variant_directory(f"{model}_{form}") for form in ("pytorch", "onnx"))
    pytorch, onnx = load_classifier(checkpoint), load_classifier(exported)
    tokenizer = load_tokenizer(exported)
    texts = load_corpus()["test"]["text"][:]
    for batch in ([text] for text in texts):
        inputs = encode(tokenizer, batch)
        np.testing.assert_allclose(onnx.logits(inputs), pytorch.logits(inputs), atol=1e-5)
    inputs = encode(tokenizer, texts)
    np.testing.assert_allclose(onnx.logits(inputs), pytorch.logits(inputs), atol=1e-5)


TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 50,
}


@pytest.mark.parametrize("kind", [*export.FIRST_TOKEN_MODELS, "albert", "xlnet"])
def test_a_trimmed_model_gives_the_same_logits(kind: str) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **TINY, pad_token_id=0)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")
    ids = torch.randint(2, 50, (3, 7))
    ids[1, 4:] = 0
    inputs = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    with torch.no_grad():
        before = model.eval()(**inputs).logits
        trimmed = export.trim_last_layer(model)
        torch.testing.assert_close(model(**inputs).logits, before, atol=1e-6, rtol=0)
        computed = model.base_model(**inputs).last_hidden_state.shape[1]
    assert trimmed == (kind in export.FIRST_TOKEN_MODELS)
    assert computed == (1 if trimmed else 7)


def test_the_last_layer_can_stay_whole(project: Callable) -> None:
    message = project("export", "export.model=student", "export.trim_last_layer=false")
    assert "all of it for every token" in message
    assert "first token alone" in project("export", "export.model=student")


def test_a_difference_above_the_tolerance_fails_and_keeps_the_old_export(
    project: Callable,
) -> None:
    target = variant_directory("teacher_onnx") / "model.onnx"
    before = target.read_bytes()
    with pytest.raises(InputError, match=r"differ from PyTorch's by .* export.tolerance = 1e-12"):
        project("export", "export.model=teacher", "export.tolerance=1e-12")
    assert target.read_bytes() == before


def test_logits_that_are_no_numbers_fail(
    project: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(inputs: Inputs) -> np.ndarray:
        return np.full((len(inputs["input_ids"]), 2), np.nan)

    classifier = Classifier(nothing, labels=["negative", "positive"], positions=64, threads=1)
    monkeypatch.setattr(export, "load_classifier", lambda _: classifier)
    with pytest.raises(InputError, match="differ from PyTorch's by nan"):
        project("export", "export.model=student")
