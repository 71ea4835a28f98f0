"""The student: its shape, and where its initial weights come from."""

import copy
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from torch.nn import ModuleList
from transformers import (
    AutoModelForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from stages.core.launch.errors import InputError
from stages.core.launch.paths import ENCODER, existing
from stages.core.launch.settings import StudentConfig
from stages.core.training.checkpoints import load_tokenizer, rebuild
from stages.core.training.heads import head
from stages.core.training.pruning import pruned, units_key

# Settings of each layer by its place.
PER_LAYER = {"layer_types", "attention_window"}


def build_student(
    config: StudentConfig,
    teacher: PreTrainedModel,
    directory: Path,
    max_length: int,
    texts: list[str],
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return an untrained student for the teacher's labels, and its tokenizer.

    Copied layers stay in their source's class, where they compute what they did; `texts` decide
    which units of narrower ones stay, with a new head by what matters to that. The tokenizer is the
    source's, that in `directory` for all but init = checkpoint, and cuts at `max_length`.

    Raises:
        InputError: the shape does not fit the source of the weights.
    """
    with tempfile.TemporaryDirectory() as scratch:
        if config.init == "checkpoint":
            name = f"student.checkpoint = {config.checkpoint!r}"
            if not (Path(config.checkpoint) / "config.json").exists():
                raise InputError(f"{name} is not a checkpoint directory; correct it")
            directory = Path(scratch)
            rebuild(Path(config.checkpoint), directory, name)
        if config.init == "scratch":
            student = from_scratch(config, teacher)
        else:
            source = teacher
            if config.init != "teacher":
                encoder = directory if config.init == "checkpoint" else existing(ENCODER)
                source = new_head(encoder, teacher.config)
            layers = chosen_layers(config, source.config)
            student = shallow_copy(source, layers, config.dropout)
        tokenizer = load_tokenizer(directory, student)
        tokenizer.model_max_length, tokenizer.truncation_side = max_length, "right"
        return pruned(student, config.hidden_dim, tokenizer, texts), tokenizer


def new_head(directory: Path, teacher: PretrainedConfig) -> PreTrainedModel:
    """Return a checkpoint's encoder with a new head for the teacher's labels."""
    model = AutoModelForSequenceClassification.from_pretrained(
        directory,
        id2label=teacher.id2label,
        label2id=teacher.label2id,
        ignore_mismatched_sizes=True,
    )
    model._init_weights(head(model))  # one for as many classes has stayed, in its own order
    return model


def from_scratch(config: StudentConfig, teacher: PreTrainedModel) -> PreTrainedModel:
    """Return a student with random weights: a DistilBERT, or one of the teacher's class."""
    theirs, kind = teacher.config, type(teacher)
    try:
        shape = copy.deepcopy(theirs)
        if config.family == "distilbert":
            kind = DistilBertForSequenceClassification
            shape = DistilBertConfig(
                vocab_size=theirs.vocab_size,
                max_position_embeddings=theirs.max_position_embeddings,
                pad_token_id=theirs.pad_token_id,
                dim=theirs.hidden_size,
                n_heads=theirs.num_attention_heads,
                hidden_dim=config.hidden_dim or getattr(theirs, units_key(theirs)),
                attn_implementation="eager",  # trains faster than the fused one on a CPU
                id2label=theirs.id2label,
                label2id=theirs.label2id,
            )
        for name, value in {
            "num_hidden_layers": config.n_layers,
            "hidden_size": config.dim,
            "num_attention_heads": config.n_heads,
            units_key(shape): config.hidden_dim,
            "pooler_hidden_size": config.dim if hasattr(shape, "pooler_hidden_size") else None,
        }.items():
            if value is not None:
                getattr(shape, name)  # or else it would be ignored
                setattr(shape, name, value)
        set_dropout(shape, config.dropout)
        return kind(shape)
    except (AttributeError, ValueError, AssertionError) as error:  # or heads don't divide a width
        raise InputError(
            f"the student can't have this shape ({error}); change student.*"
        ) from error


def widths(config: StudentConfig, teacher: PretrainedConfig) -> dict[str, tuple[Any, Any]]:
    """Return dim, n_heads and hidden_dim of the student and of the teacher, None if it has none."""
    theirs = {
        "dim": teacher.hidden_size,
        "n_heads": teacher.num_attention_heads,
        "hidden_dim": getattr(teacher, units_key(teacher), None),
    }
    return {key: (getattr(config, key) or value, value) for key, value in theirs.items()}


def chosen_layers(config: StudentConfig, source: PretrainedConfig) -> list[int]:
    """Return the source's layer for each of the student's: named, the first ones, or evenly spaced.

    Where a layer's place decides what it computes (every third layer of a ModernBERT attends to all
    tokens), each is one that computes the same in its new place.

    Raises:
        InputError: the source has no such layers, or another width.
    """
    for key, (ours, theirs) in widths(config, source).items():
        prunable = key == "hidden_dim" and theirs and ours < theirs
        if ours != theirs and not prunable:
            raise InputError(
                f"student.{key} = {ours}, but the layers to copy have {theirs}; use "
                f"student.{key}=null or student.init=scratch"
            )
    depth = source.num_hidden_layers
    count = config.n_layers or depth
    if PER_LAYER & vars(source).keys():
        raise InputError(
            f"the layers of a {source.model_type} can't be copied into a student, since each has "
            "settings of its own; use student.init=scratch student.family=distilbert"
        )
    wanted = config.teacher_layers
    if wanted == "first":
        wanted = [*range(count)]
    elif wanted == "even":
        wanted = [
            min(
                (layer for layer in range(depth) if same_kind(source, place, layer)),
                key=lambda layer: abs(layer - even),
            )
            for place, even in enumerate(np.linspace(0, depth - 1, count).round().astype(int))
        ]
    if max(wanted) >= depth or count > depth:
        raise InputError(
            f"the student's layers are {wanted} of a model that has 0 to {depth - 1}; change "
            "student.n_layers or student.teacher_layers"
        )
    for place, layer in enumerate(wanted):
        if not same_kind(source, place, layer):
            raise InputError(
                f"student.teacher_layers = {wanted}, but layer {layer} of a {source.model_type} "
                f"would compute something else as layer {place}; use student.teacher_layers=even"
            )
    return wanted


def same_kind(source: PretrainedConfig, ours: int, theirs: int) -> bool:
    """Return whether a layer computes the same in another place, counted from 0.

    In a ModernBERT, every third layer attends to all tokens, and the first one has no norm.
    """
    every = getattr(source, "global_attn_every_n_layers", None)
    return every is None or (
        (ours % every == 0) == (theirs % every == 0) and (ours == 0) == (theirs == 0)
    )


def shallow_copy(model: PreTrainedModel, layers: list[int], dropout: float) -> PreTrainedModel:
    """Return a copy of a classifier with only these of its layers, and another dropout.

    Raises:
        InputError: its layers can't be found.
    """
    shallow, config = copy.deepcopy(model), copy.deepcopy(model.config)
    groups = getattr(config, "num_hidden_groups", None)  # of layers that share weights, as ALBERT's
    if groups is None:
        stacks = [
            name
            for name, module in shallow.named_modules()
            if isinstance(module, ModuleList) and len(module) == config.num_hidden_layers
        ]
        if len(stacks) != 1:
            raise InputError(
                f"the layers of a {config.model_type} can't be copied into a student; use "
                "student.init=scratch student.family=distilbert"
            )
        stack = shallow.get_submodule(stacks[0])
        kept = ModuleList(stack.get_submodule(str(each)) for each in layers)
        shallow.set_submodule(stacks[0], kept)
    config.num_hidden_layers = len(layers)
    set_dropout(config, dropout)
    student = type(model)(config)
    student.load_state_dict(shallow.state_dict())
    return student


def set_dropout(config: PretrainedConfig, dropout: float) -> None:
    """Set every dropout of a config."""
    for key, value in vars(config).items():
        if "dropout" in key and type(value) in (int, float):
            setattr(config, key, dropout)
