from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from stages.core.launch.errors import InputError
from stages.core.launch.settings import StudentConfig
from stages.core.training.student import build_student
from tests.conftest import composed

SHAPE = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 6,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 20,
    "num_labels": 3,
}


def teacher() -> BertForSequenceClassification:
    model = BertForSequenceClassification(BertConfig(**SHAPE)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def student_config(**changes: object) -> StudentConfig:
    return StudentConfig(**{**composed().student, **changes})


def test_a_student_of_all_layers_has_the_teachers_hidden_states() -> None:
    """Holds the copied embeddings, token type and every part of a layer to account at once."""
    model = teacher()
    student = build_student(student_config(n_layers=6), model).eval()
    ids = torch.randint(30, (2, 9))
    with torch.no_grad():
        expected = model.bert(ids).last_hidden_state
        found = student.distilbert(ids).last_hidden_state
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("n_layers", "chosen", "expected"),
    [
        (1, None, [0]),
        (2, None, [0, 5]),
        (3, None, [0, 2, 5]),
        (4, None, [0, 2, 3, 5]),
        (2, [4, 1], [4, 1]),
    ],
)
def test_layers_are_spaced_evenly_or_as_told(
    n_layers: int, chosen: list[int] | None, expected: list[int]
) -> None:
    model = teacher()
    student = build_student(student_config(n_layers=n_layers, teacher_layers=chosen), model)
    for index, layer in zip(expected, student.distilbert.transformer.layer, strict=True):
        theirs = model.bert.encoder.layer[index].output.dense.weight
        assert torch.equal(layer.ffn.lin2.weight, theirs)


def test_the_controls_layers_come_from_the_encoder_before_fine_tuning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrained = BertModel(BertConfig(**SHAPE))
    pretrained.save_pretrained(tmp_path)
    monkeypatch.setattr("stages.core.training.student.ENCODER", tmp_path)
    student = build_student(student_config(init="encoder"), teacher())
    theirs = pretrained.encoder.layer[5].output.dense.weight
    assert torch.equal(student.distilbert.transformer.layer[2].ffn.lin2.weight, theirs)


def test_a_student_from_scratch_has_its_own_width_and_the_teachers_labels() -> None:
    config = student_config(init="scratch", dim=8, n_heads=4, hidden_dim=24, n_layers=2)
    student = build_student(config, teacher())
    assert student.config.num_labels == 3
    assert student(torch.randint(30, (2, 9))).logits.shape == (2, 3)
    assert student.distilbert.transformer.layer[1].ffn.lin1.weight.shape == (24, 8)


def test_the_posts_student_has_28_8_million_parameters() -> None:
    config = StudentConfig(**composed("student=distilbert-4l").student)
    bert_base = BertForSequenceClassification(BertConfig())
    count = sum(parameter.numel() for parameter in build_student(config, bert_base).parameters())
    assert count == pytest.approx(28.8e6, rel=0.01)


def test_a_student_from_a_checkpoint_has_its_weights(tmp_path: Path) -> None:
    shape = {"vocab_size": 30, "n_layers": 2, "dim": 8, "n_heads": 2, "hidden_dim": 16}
    source = DistilBertModel(DistilBertConfig(**shape, max_position_embeddings=20))
    source.save_pretrained(tmp_path)
    config = student_config(
        init="checkpoint", checkpoint=str(tmp_path), n_layers=2, dim=8, n_heads=2, hidden_dim=16
    )
    student = build_student(config, teacher())
    for name, weights in source.state_dict().items():
        assert torch.equal(student.distilbert.state_dict()[name], weights)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "[1]", "config.json is no valid JSON object"),
        ("config.json", '{"model_type": "distil', "config.json is no valid JSON object"),
        ("config.json", '{"model_type": "evil", "auto_map": {}}', "needs code of its own"),
        ("config.json", '{"model_type": "evil"}', "'evil', which is no model that classifies"),
        ("model.safetensors", "no tensors", "can't be loaded as a checkpoint"),
        ("model.safetensors", None, "can't be loaded as a checkpoint"),
        ("model.safetensors", {"x": torch.zeros(2)}, "lacks 36 weights, embeddings"),
    ],
)
def test_a_bad_checkpoint_for_a_student_is_one_message(
    tmp_path: Path, file: str, content: Any, message: str
) -> None:
    distilbert().distilbert.save_pretrained(tmp_path)
    match content:
        case str():
            (tmp_path / file).write_text(content)
        case dict():
            save_file(content, tmp_path / file, {"format": "pt"})
        case None:
            (tmp_path / file).rename(tmp_path / "pytorch_model.bin")
    config = student_config(
        init="checkpoint", checkpoint=str(tmp_path), n_layers=2, dim=8, n_heads=2, hidden_dim=16
    )
    big = BertForSequenceClassification(BertConfig(**{**SHAPE, "max_position_embeddings": 512}))
    with pytest.raises(InputError, match=message):
        build_student(config, big)


def roberta() -> RobertaForSequenceClassification:
    return RobertaForSequenceClassification(RobertaConfig(**SHAPE))


def distilbert() -> DistilBertForSequenceClassification:
    return DistilBertForSequenceClassification(
        DistilBertConfig(vocab_size=30, n_layers=2, dim=8, n_heads=2, hidden_dim=16)
    )


def test_a_bert_directory_is_no_checkpoint_for_a_student(tmp_path: Path) -> None:
    teacher().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="has model_type = bert, the student distilbert"):
        build_student(student_config(init="checkpoint", checkpoint=str(tmp_path)), teacher())


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (teacher, {"dim": 8}, r"needs the teacher's dim.*student.init=scratch"),
        (teacher, {"n_heads": 3}, "student.dim = 16 is not a multiple of student.n_heads = 3"),
        (teacher, {"n_layers": 7}, "the teacher has 0 to 5"),
        (teacher, {"n_layers": 2, "teacher_layers": [0, 6]}, r"\[0, 6\]; the teacher has 0 to 5"),
        (teacher, {"n_heads": 4}, r"needs the teacher's dim, n_heads and hidden_dim"),
        (teacher, {"init": "checkpoint", "checkpoint": "gone"}, "'gone' is not a checkpoint dir"),
        (roberta, {}, "the teacher is a roberta; use student.init=scratch"),
        (distilbert, {}, "the teacher is a distilbert; use student.init=scratch"),
    ],
)
def test_a_shape_that_does_not_fit_is_named(make, changes: dict, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        build_student(student_config(**changes), make())
