import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
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


def randomized(model: PreTrainedModel) -> PreTrainedModel:
    """Return `model` with weights so large that every layer matters."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def teacher(family: str = "bert", **changes: Any) -> PreTrainedModel:
    config = AutoConfig.for_model(family, **{**SHAPE, **changes})
    return randomized(AutoModelForSequenceClassification.from_config(config))


def distilbert(**changes: Any) -> PreTrainedModel:
    shape = {"vocab_size": 30, "n_layers": 2, "dim": 8, "n_heads": 2, "hidden_dim": 16}
    config = DistilBertConfig(**{**shape, "max_position_embeddings": 20, **changes})
    return randomized(DistilBertForSequenceClassification(config))


def student_config(**changes: object) -> StudentConfig:
    return StudentConfig(**{**composed().student, **changes})


IDS = torch.randint(3, 30, (2, 9), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("activation", ["gelu", "relu", "gelu_new"])
def test_a_distilbert_of_all_layers_has_the_berts_hidden_states(activation: str) -> None:
    model = teacher(hidden_act=activation)
    student = build_student(student_config(n_layers=6), model).eval()
    assert student.config.model_type == "distilbert"
    with torch.no_grad():
        expected = model.base_model(IDS).last_hidden_state
        found = student.distilbert(IDS).last_hidden_state
    np.testing.assert_allclose(found, expected, atol=1e-5)


OWN_CLASS = [
    ("bert", {"layer_norm_eps": 0.1}),
    ("bert", {"position_embedding_type": "relative_key"}),
    ("roberta", {}),
    ("electra", {"embedding_size": 8}),
    ("mpnet", {}),
    ("deberta-v2", {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    ("distilbert", {"hidden_dim": 32}),
]


@pytest.mark.parametrize(("family", "changes"), OWN_CLASS)
def test_a_student_of_all_layers_and_the_head_gives_the_teachers_logits(
    family: str, changes: dict
) -> None:
    model = teacher(family, **changes)
    student = build_student(student_config(n_layers=6), model).eval()
    assert type(student) is type(model)
    with torch.no_grad():
        np.testing.assert_allclose(student(IDS).logits, model(IDS).logits, atol=1e-5)


@pytest.mark.parametrize(("family", "changes"), OWN_CLASS)
def test_a_shallow_student_computes_what_its_layers_computed_in_the_teacher(
    tmp_path: Path, family: str, changes: dict
) -> None:
    """The student is reloaded, so that only its weights and its config count."""
    model = teacher(family, **changes)
    build_student(student_config(n_layers=3), model).save_pretrained(tmp_path)
    student = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    (name,) = (
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == 6
    )
    pruned = copy.deepcopy(model)
    layers = pruned.get_submodule(name)
    pruned.set_submodule(name, torch.nn.ModuleList(layers[index] for index in (0, 2, 5)))
    with torch.no_grad():
        np.testing.assert_allclose(student(IDS).logits, pruned(IDS).logits, atol=1e-5)


def test_every_dropout_of_a_student_of_the_teachers_class_is_the_configured_one() -> None:
    student = build_student(student_config(dropout=0.25), teacher("roberta"))
    rates = {each.p for each in student.modules() if isinstance(each, torch.nn.Dropout)}
    assert rates == {0.25}


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("modernbert", {"global_attn_every_n_layers": 2, "pad_token_id": 0}),
        ("longformer", {"attention_window": [4, 8, 4, 8, 4, 8]}),
        ("albert", {"embedding_size": 8}),
    ],
)
def test_layers_that_depend_on_their_place_are_not_copied(family: str, changes: dict) -> None:
    with pytest.raises(InputError, match=rf"of a {family}, can't be copied.*student.init=scratch"):
        build_student(student_config(n_layers=2), teacher(family, **changes))


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
def test_layers_are_spaced_evenly_or_as_configured(
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
    theirs = pretrained.encoder.layer[5].output.dense.weight
    student = build_student(student_config(init="encoder"), teacher())
    assert torch.equal(student.distilbert.transformer.layer[2].ffn.lin2.weight, theirs)
    student = build_student(student_config(init="encoder"), teacher(layer_norm_eps=1e-5))
    assert torch.equal(student.bert.encoder.layer[2].output.dense.weight, theirs)


def test_a_student_from_scratch_has_its_own_width_and_the_teachers_labels() -> None:
    config = student_config(init="scratch", dim=8, n_heads=4, hidden_dim=24, n_layers=2)
    student = build_student(config, teacher())
    assert student.config.num_labels == 3
    assert student(torch.randint(30, (2, 9))).logits.shape == (2, 3)
    assert student.distilbert.transformer.layer[1].ffn.lin1.weight.shape == (24, 8)


def test_the_posts_student_has_28_8_million_parameters() -> None:
    config = StudentConfig(**composed("student=distilbert-4l").student)
    with torch.device("meta"):
        student = build_student(config, BertForSequenceClassification(BertConfig()))
    count = sum(parameter.numel() for parameter in student.parameters())
    assert count == pytest.approx(28.8e6, rel=0.01)


def test_a_student_from_a_checkpoint_has_its_weights(tmp_path: Path) -> None:
    source = distilbert(activation="relu").distilbert
    source.save_pretrained(tmp_path)
    config = student_config(
        init="checkpoint", checkpoint=str(tmp_path), n_layers=2, dim=8, n_heads=2, hidden_dim=16
    )
    student = build_student(config, teacher())
    for name, weights in source.state_dict().items():
        assert torch.equal(student.distilbert.state_dict()[name], weights)
    assert student.config.activation == "relu"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "[1]", "config.json is no valid JSON object"),
        ("config.json", '{"model_type": "distil', "config.json is no valid JSON object"),
        ("config.json", '{"model_type": "evil", "auto_map": {}}', "needs code of its own"),
        ("config.json", '{"model_type": "evil"}', "'evil', which is no model that classifies"),
        ("model.safetensors", "no tensors", "can't be loaded as a checkpoint"),
        ("model.safetensors", None, "has no safetensors weights"),
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
    with pytest.raises(InputError, match=message):
        build_student(config, teacher())


def test_a_bert_directory_is_no_checkpoint_for_a_student(tmp_path: Path) -> None:
    teacher().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="has model_type = bert, the student distilbert"):
        build_student(student_config(init="checkpoint", checkpoint=str(tmp_path)), teacher())


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        (
            "bert",
            {"dim": 8},
            "student.dim = 8, but the layers to copy have 16; use student.dim=null",
        ),
        ("bert", {"n_heads": 4}, "student.n_heads = 4, but the layers to copy have 2; use"),
        ("roberta", {"hidden_dim": 8}, "student.hidden_dim = 8, .* or student.init=scratch"),
        ("bert", {"n_layers": 7}, "the teacher, which has 0 to 5; change student.n_layers"),
        (
            "bert",
            {"n_layers": 2, "teacher_layers": [0, 6]},
            r"\[0, 6\] of the teacher, which has 0",
        ),
        ("bert", {"init": "scratch", "n_heads": 3}, "dim = 16 is not a multiple of .*n_heads = 3"),
        ("bert", {"init": "checkpoint", "checkpoint": "gone"}, "'gone' is not a checkpoint dir"),
        ("albert", {}, "an? albert, can't be copied into a student; use student.init=scratch"),
    ],
)
def test_a_shape_that_does_not_fit_is_named(family: str, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_student(student_config(**changes), teacher(family))
