"""The student: its shape, and where its initial weights come from."""

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
from transformers import (
    AutoModel,
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
LAYER = re.compile(r"\blayers?\.(\d+)\.")  # in the name of a weight


def build_student(config: StudentConfig, teacher: PreTrainedModel) -> PreTrainedModel:
    """Return an untrained student for the teacher's labels and vocabulary.

    Copied layers compute what they computed in the teacher: in a DistilBERT, or, where that cannot
    express them, in the teacher's own class, together with its head if that is copied too. All
    other students are DistilBERTs.

    Raises:
        InputError: the shape does not fit the source of the weights.
    """
    shape = teacher.config
    if config.init == "scratch":
        return DistilBertForSequenceClassification(distilbert_config(config, shape))
    if config.init == "checkpoint":
        return from_checkpoint(config.checkpoint, distilbert_config(config, shape))
    layers = chosen_layers(config, shape)
    found = {int(each[1]) for each in map(LAYER.search, teacher.state_dict()) if each}
    if found != {*range(shape.num_hidden_layers)}:
        raise _unfit(shape, layers)
    copied = config.init == "teacher"
    encoder = teacher.base_model if copied else AutoModel.from_pretrained(existing(ENCODER))
    if all(getattr(shape, key, None) == value for key, value in DISTILBERT.items()):
        ours = distilbert_config(config, shape)
        ours.activation = shape.hidden_act
        student = DistilBertForSequenceClassification(ours)
        copy_into_distilbert(encoder, student, layers)
        return student
    student = type(teacher)(shallow_config(shape, layers, config.dropout))
    copy_weights(encoder, student.base_model, layers)
    if copied:  # the head too
        copy_weights(teacher, student, layers)
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
    # In ModernBERT the place decides what a layer attends to: every nth to the whole text.
    period = getattr(teacher, "global_attn_every_n_layers", 1)
    layers = []
    for index, place in enumerate(wanted):
        alike = [each for each in range(depth) if bool(each % period) == bool(index % period)]
        layers.append(alike[np.abs(np.array(alike) - place).argmin()])
    if config.teacher_layers not in (None, layers):
        raise _unfit(teacher, wanted)
    return layers


def shallow_config(
    teacher: PretrainedConfig, layers: list[int], dropout: float
) -> PretrainedConfig:
    """Return the teacher's config for these of its layers, with every dropout rate replaced."""
    config = copy.deepcopy(teacher)
    for key, value in vars(teacher).items():
        if key in ("attention_window", "layer_types") and isinstance(value, list):
            setattr(config, key, [value[layer] for layer in layers])
        if "dropout" in key and type(value) in (int, float):
            setattr(config, key, dropout)
    config.num_hidden_layers = len(layers)
    return config


def copy_weights(source: PreTrainedModel, target: PreTrainedModel, layers: list[int]) -> None:
    """Copy the weights of a model into a shallower one of its class.

    Args:
        source: the teacher, or an encoder.
        target: a student, or its encoder.
        layers: the source's layer for each of the target's.

    Raises:
        InputError: a layer's weights depend on its place, or there are layers of another kind.
    """
    weights = {}
    for name, tensor in source.state_dict().items():
        found = LAYER.search(name)
        if not found:
            weights[name] = tensor
            continue
        for index, layer in enumerate(layers):
            if layer == int(found[1]):
                weights[f"{name[: found.start(1)]}{index}{name[found.end(1) :]}"] = tensor
    missing, extra = target.load_state_dict(weights, strict=False)
    # An encoder may bring a pooler that its classifier lacks.
    unplaced = [name for name in extra if LAYER.search(name)]
    if missing or unplaced:
        raise _unfit(source.config, layers)


def _unfit(teacher: PretrainedConfig, layers: list[int]) -> InputError:
    return InputError(
        f"the layers {layers} of the teacher, a {teacher.model_type}, can't be copied into a "
        "student; use student.init=scratch"
    )


def copy_into_distilbert(
    bert: PreTrainedModel, student: DistilBertForSequenceClassification, layers: list[int]
) -> None:
    """Copy the embeddings and chosen layers of a BERT into a DistilBERT of its width.

    Args:
        bert: a BertModel, the teacher's or the pretrained one.
        student: gets the weights.
        layers: the BERT's layer for each of the student's.
    """
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
