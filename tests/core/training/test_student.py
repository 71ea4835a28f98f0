import copy
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    PreTrainedModel,
)

from stages.core.launch.errors import InputError
from stages.core.launch.settings import StudentConfig
from stages.core.training import student
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


@pytest.fixture(autouse=True)
def no_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let teachers do without a tokenizer: every text is the same two."""
    tokenizer = Mock(return_value={"input_ids": IDS})
    monkeypatch.setattr(student, "load_tokenizer", lambda source, model: tokenizer)


def build_student(config: StudentConfig, model: PreTrainedModel) -> PreTrainedModel:
    return student.build_student(config, model, Path("teacher"), 20, ["a text"])[0]


def student_config(**changes: object) -> StudentConfig:
    return StudentConfig(**{**composed("student=minilm-3l").student, **changes})


IDS = torch.randint(3, 30, (2, 9), generator=torch.Generator().manual_seed(0))


OWN_CLASS = [
    ("bert", {}),
    ("bert", {"position_embedding_type": "relative_key"}),
    ("roberta", {}),
    ("electra", {"embedding_size": 8}),
    ("mpnet", {}),
    ("deberta-v2", {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    ("distilbert", {"hidden_dim": 32}),
    ("albert", {"embedding_size": 8}),
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
    pruned = copy.deepcopy(model)
    if family == "albert":  # whose layers are one, in turns
        pruned.base_model.encoder.config.num_hidden_layers = 3
    else:
        (name,) = (
            name
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.ModuleList) and len(module) == 6
        )
        layers = pruned.get_submodule(name)
        pruned.set_submodule(name, torch.nn.ModuleList(layers[index] for index in (0, 2, 5)))
    with torch.no_grad():
        np.testing.assert_allclose(student(IDS).logits, pruned(IDS).logits, atol=1e-5)


@pytest.mark.parametrize(("family", "changes"), OWN_CLASS)
def test_a_narrower_student_keeps_the_units_that_matter(
    tmp_path: Path, family: str, changes: dict
) -> None:
    """The rest has no weight in the output; which it is differs from layer to layer."""
    model = teacher(family, **changes)
    for place, module in enumerate(model.modules()):
        if isinstance(module, torch.nn.Linear) and module.in_features == 32:
            idle = torch.randperm(32, generator=torch.Generator().manual_seed(place))[:12]
            module.weight.data[:, idle] = 0
    whole = build_student(student_config(n_layers=6), model).eval()
    build_student(student_config(n_layers=6, hidden_dim=20), model).save_pretrained(tmp_path)
    narrow = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert narrow.num_parameters() < whole.num_parameters()
    with torch.no_grad():
        np.testing.assert_allclose(narrow(IDS).logits, whole(IDS).logits, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("modernbert", {"global_attn_every_n_layers": 3, "pad_token_id": 0}),
        # Attention's layer that makes queries, keys and values has the shape of one.
        ("modernbert", {"intermediate_size": 48, "pad_token_id": 0}),
        ("bert", {"intermediate_size": 16}),  # as wide as the model
    ],
)
def test_what_is_not_a_pair_of_linear_layers_is_not_pruned(family: str, changes: dict) -> None:
    model = teacher(family, **changes)
    with pytest.raises(InputError, match=f"this {family} can't be pruned; .*hidden_dim=null"):
        build_student(student_config(n_layers=2, hidden_dim=8), model)


def test_every_dropout_of_a_student_of_the_teachers_class_is_the_configured_one() -> None:
    student = build_student(student_config(dropout=0.25), teacher("roberta"))
    rates = {each.p for each in student.modules() if isinstance(each, torch.nn.Dropout)}
    assert rates == {0.25}


def test_layers_with_settings_of_their_own_are_not_copied() -> None:
    model = teacher("longformer", attention_window=[4, 8, 4, 8, 4, 8])
    with pytest.raises(InputError, match=r"of a longformer can't be copied.*student.init=scratch"):
        build_student(student_config(n_layers=2), model)


def test_a_modernberts_layers_stay_global_or_local() -> None:
    model = teacher("modernbert", global_attn_every_n_layers=3, num_hidden_layers=7, pad_token_id=0)
    few = build_student(student_config(n_layers=4), model)
    for ours, theirs in zip(few.model.layers, (0, 2, 4, 6), strict=True):
        source = model.model.layers[theirs]
        assert torch.equal(ours.mlp.Wi.weight, source.mlp.Wi.weight)
        assert ours.attn.local_attention == source.attn.local_attention
    with pytest.raises(InputError, match="layer 3 of a modernbert would compute something else as"):
        build_student(student_config(n_layers=2, teacher_layers=[0, 3]), model)


@pytest.mark.parametrize(
    ("n_layers", "chosen", "expected"),
    [
        (1, "even", [0]),
        (2, "even", [0, 5]),
        (3, "even", [0, 2, 5]),
        (4, "even", [0, 2, 3, 5]),
        (2, "first", [0, 1]),
        (2, [4, 1], [4, 1]),
    ],
)
def test_layers_are_the_first_ones_evenly_spaced_or_named(
    n_layers: int, chosen: str | list[int], expected: list[int]
) -> None:
    model = teacher()
    student = build_student(student_config(n_layers=n_layers, teacher_layers=chosen), model)
    for index, layer in zip(expected, student.bert.encoder.layer, strict=True):
        theirs = model.bert.encoder.layer[index].output.dense.weight
        assert torch.equal(layer.output.dense.weight, theirs)


def test_the_controls_layers_come_from_the_encoder_before_fine_tuning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrained = BertModel(BertConfig(**SHAPE))
    pretrained.save_pretrained(tmp_path)
    monkeypatch.setattr("stages.core.training.student.ENCODER", tmp_path)
    theirs = pretrained.encoder.layer[5].output.dense.weight
    student = build_student(student_config(init="encoder"), teacher())
    assert torch.equal(student.bert.encoder.layer[2].output.dense.weight, theirs)


def test_a_student_from_scratch_has_its_own_width_and_the_teachers_labels() -> None:
    shape = {"dim": 8, "n_heads": 4, "hidden_dim": 24, "n_layers": 2}
    config = student_config(init="scratch", family="distilbert", **shape)
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


def test_a_student_of_the_teachers_class_can_start_from_scratch() -> None:
    config = student_config(init="scratch", dim=8, n_heads=4, hidden_dim=24)
    small = build_student(config, teacher("roberta"))
    assert small.config.model_type == "roberta"
    assert small.config.num_hidden_layers == 3
    assert small(IDS).logits.shape == (2, 3)
    assert small.roberta.encoder.layer[1].intermediate.dense.weight.shape == (24, 8)
    small = build_student(config, teacher("distilbert", hidden_dim=32))
    assert small.distilbert.transformer.layer[1].ffn.lin1.weight.shape == (24, 8)


@pytest.fixture
def checkpoint(sources: Path, tmp_path: Path) -> Path:
    """Return a copy of the toy encoder, a BERT of three layers."""
    return shutil.copytree(sources / "encoder", tmp_path / "checkpoint")


@pytest.mark.parametrize(("n_layers", "layers"), [(None, [0, 1, 2]), (2, [0, 2])])
def test_a_student_from_a_checkpoint_has_its_layers_and_the_teachers_labels(
    checkpoint: Path, n_layers: int | None, layers: list[int]
) -> None:
    config = student_config(init="checkpoint", checkpoint=str(checkpoint), n_layers=n_layers)
    small = build_student(config, teacher("roberta"))
    source = BertModel.from_pretrained(checkpoint)
    assert small.config.num_labels == 3
    assert small.config.vocab_size == source.config.vocab_size
    for ours, theirs in zip(small.bert.encoder.layer, layers, strict=True):
        weights = source.encoder.layer[theirs].output.dense.weight
        assert torch.equal(ours.output.dense.weight, weights)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "[1]", "config.json is not a valid JSON object"),
        ("config.json", '{"model_type": "evil", "auto_map": {}}', "needs code of its own"),
        ("model.safetensors", None, "has no safetensors weights"),
        ("tokenizer.json", None, "has no tokenizer"),
    ],
)
def test_a_bad_checkpoint_for_a_student_is_one_message(
    checkpoint: Path, file: str, content: str | None, message: str
) -> None:
    (checkpoint / "vocab.txt").unlink()
    if content is None:
        (checkpoint / file).unlink()
    else:
        (checkpoint / file).write_text(content)
    with pytest.raises(InputError, match=message):
        build_student(student_config(init="checkpoint", checkpoint=str(checkpoint)), teacher())


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        (
            "bert",
            {"dim": 8},
            "student.dim = 8, but the layers to copy have 16; use student.dim=null",
        ),
        ("bert", {"n_heads": 4}, "student.n_heads = 4, but the layers to copy have 2; use"),
        ("bert", {"init": "scratch", "n_heads": 3}, "can't have this shape"),
        ("roberta", {"hidden_dim": 33}, "student.hidden_dim = 33, .* or student.init=scratch"),
        ("bert", {"n_layers": 7}, "a model that has 0 to 5; change student.n_layers"),
        ("bert", {"n_layers": 2, "teacher_layers": [0, 6]}, r"\[0, 6\] of a model that has 0 to 5"),
        ("bert", {"init": "scratch", "family": "distilbert", "n_heads": 3}, "have this shape"),
        ("bert", {"init": "checkpoint", "checkpoint": "gone"}, "'gone' is not a checkpoint dir"),
    ],
)
def test_a_shape_that_does_not_fit_is_named(family: str, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_student(student_config(**changes), teacher(family))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {},
            "student.hidden_dim = 8, but the layers to copy have None; use student.hidden_dim=nul",
        ),
        ({"init": "scratch"}, "no attribute 'intermediate_size'.; change student"),
    ],
)
def test_a_model_without_a_number_of_units_gets_none(changes: dict, message: str) -> None:
    model = teacher("gpt2")
    del model.config.intermediate_size  # which is not GPT-2's, but this file's
    with pytest.raises(InputError, match=message):
        build_student(student_config(hidden_dim=8, **changes), model)
