"""The student: a DistilBERT of any depth and width, and where its first weights come from."""

from pathlib import Path

import numpy as np
from transformers import (
    AutoModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
)

from stages.core.launch.errors import InputError
from stages.core.launch.paths import ENCODER, existing
from stages.core.launch.settings import StudentConfig
from stages.core.training.checkpoints import load_encoder

# A BERT layer's parts under DistilBERT's names.
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


def build_student(config: StudentConfig, teacher: PreTrainedModel) -> PreTrainedModel:
    """Return an untrained student for the teacher's labels and vocabulary.

    Raises:
        InputError: the shape doesn't fit where the weights are to come from.
    """
    shape = teacher.config
    dim = config.dim or shape.hidden_size
    n_heads = config.n_heads or shape.num_attention_heads
    # A DistilBERT teacher calls it hidden_dim.
    hidden_dim = config.hidden_dim or getattr(
        shape, "intermediate_size", getattr(shape, "hidden_dim", None)
    )
    if not hidden_dim:
        raise InputError(
            f"student.hidden_dim is null, but the teacher, a {shape.model_type}, tells none; set it"
        )
    if dim % n_heads:
        raise InputError(f"student.dim = {dim} is not a multiple of student.n_heads = {n_heads}")
    student_config = DistilBertConfig(
        vocab_size=shape.vocab_size,
        max_position_embeddings=shape.max_position_embeddings,
        pad_token_id=shape.pad_token_id,
        n_layers=config.n_layers,
        dim=dim,
        n_heads=n_heads,
        hidden_dim=hidden_dim,
        dropout=config.dropout,
        attention_dropout=config.dropout,
        seq_classif_dropout=config.dropout,
        attn_implementation="eager",  # trains faster than the fused one on a CPU
        id2label=shape.id2label,
        label2id=shape.label2id,
    )
    if config.init == "checkpoint":
        return from_checkpoint(config.checkpoint, student_config)
    student = DistilBertForSequenceClassification(student_config)
    if config.init == "teacher":
        copy_layers(teacher.base_model, student, config.teacher_layers)
    if config.init == "encoder":
        copy_layers(AutoModel.from_pretrained(existing(ENCODER)), student, config.teacher_layers)
    return student


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
    student = DistilBertForSequenceClassification(config)
    student.distilbert.load_state_dict(encoder.state_dict())
    return student


def copy_layers(
    bert: PreTrainedModel,
    student: DistilBertForSequenceClassification,
    layers: list[int] | None,
) -> None:
    """Copy the embeddings and chosen layers of a BERT into a student of its width.

    Args:
        bert: a BertModel, the teacher's or the pretrained one.
        student: gets the weights.
        layers: the BERT's layer for each of the student's; None spaces them evenly, the first
            and the last included.
    """
    config = student.config
    if bert.config.model_type != "bert":
        raise InputError(
            f"the student can copy layers from a BERT, but the teacher is a "
            f"{bert.config.model_type}; use student.init=scratch"
        )
    shape = bert.config
    theirs = (shape.hidden_size, shape.num_attention_heads, shape.intermediate_size)
    if (config.dim, config.n_heads, config.hidden_dim) != theirs:
        raise InputError(
            f"to copy layers the student needs the teacher's dim, n_heads and hidden_dim, "
            f"{theirs}, not {(config.dim, config.n_heads, config.hidden_dim)}; use "
            "student.init=scratch"
        )
    depth = bert.config.num_hidden_layers
    if layers is None:
        layers = np.linspace(0, depth - 1, config.n_layers).round().astype(int).tolist()
    if max(layers) >= depth or config.n_layers > depth:
        raise InputError(f"student wants teacher layers {layers}; the teacher has 0 to {depth - 1}")

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
