"""Encoders of every family that people fine-tune: a tiny random one goes through the pipeline."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification

from stages.core.launch.errors import InputError
from stages.core.serving.classifier import encode, load_classifier, load_tokenizer
from stages.core.serving.variant import ROLES, Variant
from stages.core.text.corpus import load_corpus
from tests.conftest import FORMS, QUANTIZED
from tests.families import FAMILIES, make


def test_texts_may_be_as_long_as_the_model_reads(project: Callable, tmp_path: Path) -> None:
    own = f"model.source.path={make('modernbert', tmp_path / 'encoder')}", "student.hidden_dim=null"
    project("fetch", "run.item=encoder", *own)
    project("prepare", *own, "model.max_length=8192")
    with pytest.raises(InputError, match="the encoder reads at most 8192 tokens"):
        project("prepare", *own, "model.max_length=8193")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_teacher_of_every_family_is_trained_distilled_exported_quantized_and_served(
    project: Callable, tmp_path: Path, family: str
) -> None:
    own = [f"model.source.path={make(family, tmp_path / 'encoder')}", "model.max_length=48"]
    if family == "modernbert":  # whose feed-forward layers have gates
        own.append("student.hidden_dim=null")
    for training in ("finetune", "distill"):
        own += [f"{training}.epochs=1", f"{training}.batch_size=90"]
    project("fetch", "run.item=encoder", *own)
    for stage in ("prepare", "finetune", "distill"):
        project(stage, *own)
    texts = load_corpus()["test"]["text"][:8]
    for model in ROLES:
        project("export", f"run.model={model}", *own)
        able = [form for form in FORMS if (family, form) != ("deberta-v2", "openvino")]
        for form in QUANTIZED:
            step = ("quantize", f"run.model={model}", f"run.form={form}", *own)
            if form in able:
                project(*step)
            else:
                with pytest.raises(InputError, match=r"NNCF can't .*; leave its form out: -S "):
                    project(*step)
        forms = [Variant(model, form).directory for form in able]
        tokenizer = load_tokenizer(forms[0])
        logits = [load_classifier(form).logits(encode(tokenizer, texts)) for form in forms]
        np.testing.assert_allclose(logits[1], logits[0], atol=1e-4)
        spread = np.abs(logits[1] - logits[1].mean()).max()
        for quantized in logits[2:]:
            np.testing.assert_allclose(quantized, logits[1], atol=spread)
    student = AutoModelForSequenceClassification.from_pretrained(
        Variant("student", "pytorch").directory
    )
    assert student.config.model_type == family
    assert student.config.num_hidden_layers == 2
    pruned = {"intermediate_size": 40, "hidden_dim": 40}.items() & student.config.to_dict().items()
    assert bool(pruned) is (family != "modernbert")
    assert student.config.id2label == {0: "negative", 1: "positive"}
