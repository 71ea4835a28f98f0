"""The student: its shape, and where its initial weights come from."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
from torch.nn import ModuleList
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)

from stages.core.launch.errors import InputError
from stages.core.launch.paths import ENCODER, existing
from stages.core.launch.settings import StudentConfig
from stages.core.training.checkpoints import load_encoder

# A BERT with these settings computes what a DistilBERT can; its activation may be any.
DISTILBERT = {
    "model_type": "bert",
    "position_embedding_type": "absolute",
    "layer_norm_eps": 1e-12,
    "is_decoder": False,
}
# The parts of a BERT layer under DistilBERT's names.
LAYER_PARTS = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}
# Where a layer's place decides what it computes.
PLACED = ("global_attn_every_n_layers", "layer_types", "attention_window")


def build_student(config: StudentConfig, teacher: PreTrainedModel) -> PreTrainedModel:
    """Return an untrained student for the teacher's labels and vocabulary.

    Copied layers compute what they computed in the teacher: in a DistilBERT, or, where that cannot
    express them, in the teacher's own class. All other students are DistilBERTs.

    Raises:
        InputError: the shape does not fit the source of the weights.
    """
    shape = teacher.config
    if config.init == "scratch":
        return DistilBertForSequenceClassification(distilbert_config(config, shape))
    if config.init == "checkpoint":
        return from_checkpoint(config.checkpoint, distilbert_config(config, shape))
    layers = chosen_layers(config, shape)
    source = teacher
    if config.init == "encoder":  # with a new head
        source = type(teacher).from_pretrained(
            existing(ENCODER), config=copy.deepcopy(shape), ignore_mismatched_sizes=True
        )
    if any(getattr(shape, key, None) != value for key, value in DISTILBERT.items()):
        return shallow_copy(source, layers, config.dropout)
    ours = distilbert_config(config, shape)
    ours.activation = shape.hidden_act
    student = DistilBertForSequenceClassification(ours)
    copy_into_distilbert(source.base_model, student, layers)
    return student


def widths(config: StudentConfig, teacher: PretrainedConfig) -> dict[str, tuple[Any, Any]]:
    """Return dim, n_heads and hidden_dim of the student and of the teacher, None if it has none."""
    theirs = {
        "dim": teacher.hidden_size,
        "n_heads": teacher.num_attention_heads,
        # DistilBERT's name for it is the student's.
        "hidden_dim": getattr(teacher, "intermediate_size", getattr(teacher, "hidden_dim", None)),
    }
    return {key: (getattr(config, key) or value, value) for key, value in theirs.items()}


def distilbert_config(config: StudentConfig, teacher: PretrainedConfig) -> DistilBertConfig:
    """Return the config of a DistilBERT student."""
    shape = {key: ours for key, (ours, _) in widths(config, teacher).items()}
    if not shape["hidden_dim"]:
        raise InputError(
            f"student.hidden_dim is null, but the teacher, a {teacher.model_type}, has none; set it"
        )
    if shape["dim"] % shape["n_heads"]:
        raise InputError(
            f"student.dim = {shape['dim']} is not a multiple of student.n_heads = "
            f"{shape['n_heads']}; change one of them"
        )
    return DistilBertConfig(
        vocab_size=teacher.vocab_size,
        max_position_embeddings=teacher.max_position_embeddings,
        pad_token_id=teacher.pad_token_id,
        n_layers=config.n_layers,
        **shape,
        dropout=config.dropout,
        attention_dropout=config.dropout,
        seq_classif_dropout=config.dropout,
        attn_implementation="eager",  # trains faster than the fused one on a CPU
        id2label=teacher.id2label,
        label2id=teacher.label2id,
    )


def from_checkpoint(path: str, config: DistilBertConfig) -> PreTrainedModel:
    """Return a student with the encoder weights of a DistilBERT checkpoint directory."""
    name = f"student.checkpoint = {path!r}"
    if not (Path(path) / "config.json").exists():
        raise InputError(f"{name} is not a checkpoint directory")
    encoder = load_encoder(Path(path), name)
    shape = ("model_type", "n_layers", "dim", "n_heads", "hidden_dim", "vocab_size")
    for key in (*shape, "max_position_embeddings"):
        theirs, ours = getattr(encoder.config, key, None), getattr(config, key)
        if theirs != ours:
            raise InputError(
                f"{name} has {key} = {theirs}, the student {ours}; the two must be equal"
            )
    config.activation = encoder.config.activation
    student = DistilBertForSequenceClassification(config)
    student.distilbert.load_state_dict(encoder.state_dict())
    return student


def chosen_layers(config: StudentConfig, teacher: PretrainedConfig) -> list[int]:
    """Return the teacher's layer for each of the student's.

    They are the configured ones, or evenly spaced from the first to the last; a single one is the
    first.

    Raises:
        InputError: the teacher has no such layers, or another width.
    """
    for key, (ours, theirs) in widths(config, teacher).items():
        if ours != theirs:
            raise InputError(
                f"student.{key} = {ours}, but the layers to copy have {theirs}; use "
                f"student.{key}=null or student.init=scratch"
            )
    depth = teacher.num_hidden_layers
    spaced = np.linspace(0, depth - 1, config.n_layers).round().astype(int).tolist()
    wanted = config.teacher_layers or spaced
    if max(wanted) >= depth or config.n_layers > depth:
        raise InputError(
            f"the student's layers are {wanted} of the teacher, which has 0 to {depth - 1}; change "
            "student.n_layers or student.teacher_layers"
        )
    return wanted


def shallow_copy(model: PreTrainedModel, layers: list[int], dropout: float) -> PreTrainedModel:
    """Return a copy of a classifier with only these of its layers, and another dropout.

    Raises:
        InputError: it has no such layers, or their place decides what they compute.
    """
    pruned, config = copy.deepcopy(model), copy.deepcopy(model.config)
    stacks = [
        name
        for name, module in pruned.named_modules()
        if isinstance(module, ModuleList) and len(module) == config.num_hidden_layers
    ]
    if len(stacks) != 1 or any(hasattr(config, key) for key in PLACED):
        raise InputError(
            f"the teacher's layers, those of a {config.model_type}, can't be copied into a "
            "student; use student.init=scratch"
        )
    stack = pruned.get_submodule(stacks[0])
    pruned.set_submodule(stacks[0], ModuleList(stack.get_submodule(str(each)) for each in layers))
    config.num_hidden_layers = len(layers)
    for key, value in vars(model.config).items():
        if "dropout" in key and type(value) in (int, float):
            setattr(config, key, dropout)
    student = type(model)(config)
    student.load_state_dict(pruned.state_dict())
    return student


def copy_into_distilbert(
    bert: PreTrainedModel, student: DistilBertForSequenceClassification, layers: list[int]
) -> None:
    """Copy the embeddings and these layers of a BERT, in that order, into a DistilBERT."""
    embeddings = bert.embeddings
    ours = student.distilbert.embeddings
    ours.word_embeddings.load_state_dict(embeddings.word_embeddings.state_dict())
    ours.LayerNorm.load_state_dict(embeddings.LayerNorm.state_dict())
    # DistilBERT has no token types: BERT's type 0, added to every token, goes into the positions.
    ours.position_embeddings.weight.data.copy_(
        embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0]
    )
    for index, layer in zip(layers, student.distilbert.transformer.layer, strict=True):
        for source, target in LAYER_PARTS.items():
            weights = bert.encoder.layer[index].get_submodule(source).state_dict()
            layer.get_submodule(target).load_state_dict(weights)
