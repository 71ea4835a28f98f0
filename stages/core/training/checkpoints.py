"""Checkpoints from elsewhere, which may be damaged, incomplete or hostile: they are rebuilt.

Known keys, tokenizer files and safetensors weights are loaded through their libraries and saved
again. Nothing else reaches a later stage: no code, no pickle, no other file, no unknown key.
"""

import inspect
import json
import tempfile
from pathlib import Path
from typing import Any

from transformers import (
    CONFIG_MAPPING,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from stages.core.launch.atomic import write_json
from stages.core.launch.errors import InputError, reason

# A checkpoint needs one file of every group.
NEEDED = {
    "config": ("config.json",),
    "safetensors weights": ("model.safetensors", "model.safetensors.index.json"),
    "tokenizer": ("tokenizer.json", "vocab.txt", "vocab.json"),
}
VOCABULARY = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "added_tokens.json")
# Beside what a config class declares.
CONFIG_KEYS = {
    *("architectures", "id2label", "label2id", "problem_type", "pad_token_id"),
    # What DeBERTa's code reads, but its config class doesn't declare.
    *("attention_head_size", "cls_dropout", "conv_act", "conv_groups", "conv_kernel_size"),
    *("embedding_size", "norm_rel_ebd", "position_buckets", "share_att_key", "talking_head"),
}
TOKENIZER_KEYS = {
    *("tokenizer_class", "model_max_length", "padding_side", "truncation_side"),
    *("do_lower_case", "strip_accents", "tokenize_chinese_chars", "add_prefix_space"),
    *("clean_up_tokenization_spaces", "additional_special_tokens", "added_tokens_decoder"),
    "model_input_names",
    *(f"{name}_token" for name in ("unk", "sep", "pad", "cls", "mask", "bos", "eos")),
}
SERVED = {"input_ids", "attention_mask", "token_type_ids"}  # what a tokenizer gives
MAX_BYTES = 2**31
NOTES = {
    "_name_or_path",
    "name_or_path",
    "model_type",
    "transformers_version",
    "dtype",
    "torch_dtype",
}
HEAD = "pooler."  # belongs to a task: it may be missing, and is trained anew


def rebuild(source: Path, target: Path, name: str) -> list[str]:
    """Write a checkpoint's config, tokenizer and weights anew, once it is able to classify.

    Returns the keys that were dropped from its config and that of its tokenizer; `name` is for
    errors.

    Raises:
        InputError: the checkpoint lacks something, can't be loaded, or needs code of its own.
    """
    with tempfile.TemporaryDirectory() as scratch:
        dropped = _take_over(source, Path(scratch), name)
        model, absent = _load(Path(scratch), name)
        try:
            classifier = AutoModelForSequenceClassification.from_config(model.config).eval()
            tokenizer = load_tokenizer(Path(scratch), classifier)
            texts = ["A text.", "A text of more words."]
            outputs = classifier(**tokenizer(texts, padding=True, return_tensors="pt"))
        except Exception as error:  # the libraries raise many kinds
            raise _unloadable(name, error) from error
        check(model.config, tokenizer, set(outputs), name)
        check_export(classifier, name)
        tokenizer.backend_tokenizer.no_padding()  # that to a fixed length would be served, too
        tokenizer.backend_tokenizer.no_truncation()
        weights = {key: value for key, value in model.state_dict().items() if key not in absent}
        model.save_pretrained(target, state_dict=weights)
        tokenizer.save_pretrained(target)
    return dropped


def load_tokenizer(source: Path, model: PreTrainedModel) -> PreTrainedTokenizerBase:
    """Return a checkpoint's tokenizer, which gives only those inputs that a model reads.

    A DistilBERT reads no token types; a BERT's default to zeros.
    """
    inputs = AutoTokenizer.from_pretrained(source, trust_remote_code=False).model_input_names
    known = inspect.signature(model.forward).parameters
    return AutoTokenizer.from_pretrained(
        source,
        trust_remote_code=False,
        model_input_names=[name for name in inputs if name in known],
    )


def check(
    config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, outputs: set[str], name: str
) -> None:
    """Raise InputError unless a checkpoint can be fine-tuned and served: texts in, logits out."""
    if outputs - set(getattr(config, "keys_to_ignore_at_inference", ())) != {"logits"}:
        raise InputError(
            f"{name} gives more outputs than logits, as it decodes too or its config.json asks "
            "for them; take an encoder, or correct that"
        )
    if not tokenizer.is_fast:
        raise InputError(f"{name} has no tokenizer.json and none can be made; use another model")
    if len(tokenizer) > config.vocab_size:
        raise InputError(
            f"{name}: its tokenizer has {len(tokenizer)} tokens, the model only {config.vocab_size}"
        )
    if not hasattr(config, "max_position_embeddings"):
        raise InputError(f"{name} has no max_position_embeddings; use another model")


def check_export(classifier: PreTrainedModel, name: str) -> None:
    """Raise InputError unless optimum exports a classifier of that kind, and our engines serve it.

    Weights of 2 GiB or more don't fit into one ONNX file (a protobuf), as quantization needs.
    """
    from optimum.exporters.onnx.model_configs import TasksManager  # registers them; takes seconds

    kind = classifier.config.model_type
    try:
        constructor = TasksManager.get_exporter_config_constructor(
            "onnx", model_type=kind, task="text-classification", library_name="transformers"
        )
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{name} has model_type = {kind!r}, which optimum can't export to ONNX as a "
            "classifier; use another model"
        ) from error
    others = {*constructor(classifier.config, task="text-classification").inputs} - SERVED
    if others:
        raise InputError(
            f"{name} has model_type = {kind!r}, whose graph needs {', '.join(sorted(others))}, "
            "which no engine here provides; use another model"
        )
    size = 4 * sum(parameter.numel() for parameter in classifier.parameters())
    if size >= MAX_BYTES:
        raise InputError(
            f"{name} has {size / 2**30:.1f} GiB of weights in fp32, and an ONNX file holds less "
            "than 2; take a smaller model"
        )


def _take_over(source: Path, target: Path, name: str) -> list[str]:
    """Write the known parts of a checkpoint into `target`; return the keys that are unknown."""
    for need, names in NEEDED.items():
        if not any((source / each).exists() for each in names):
            raise InputError(
                f"{name} has no {need} ({' or '.join(names)}); use a directory written by "
                "save_pretrained (pickled weights, *.bin, are not read)"
            )
    content = _read(source, "config.json", name)
    kind = content.get("model_type")
    if not isinstance(kind, str) or kind not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES:
        raise InputError(
            f"{name}: config.json has model_type = {kind!r:.100}, which is not a model that "
            "classifies texts; take another"
        )
    declared = set(inspect.signature(CONFIG_MAPPING[kind].__init__).parameters)
    config = {key: content[key] for key in content.keys() & (declared | CONFIG_KEYS)}
    write_json(target / "config.json", config | {"model_type": kind})

    special = _read(source, "special_tokens_map.json", name)
    tokens = {key: _typed(token) for key, token in special.items()}
    tokens |= _read(source, "tokenizer_config.json", name)
    if "tokenizer_class" in content:
        tokens.setdefault("tokenizer_class", content["tokenizer_class"])
    known = {key: tokens[key] for key in tokens.keys() & TOKENIZER_KEYS}
    write_json(target / "tokenizer_config.json", known)
    weights = ["model.safetensors"]
    if index := _read(source, "model.safetensors.index.json", name):
        weight_map = index.get("weight_map")
        places = list(weight_map.values()) if isinstance(weight_map, dict) else [""]
        beside = [file.name for file in source.glob("*.safetensors")]
        if not all(place in beside for place in places):
            raise InputError(
                f"{name}: model.safetensors.index.json names weights that are not safetensors "
                "beside it; refused"
            )
        weights = sorted(set(places))
        index = {"metadata": {}, "weight_map": weight_map}
        write_json(target / "model.safetensors.index.json", index)
    for file in (*weights, *VOCABULARY):
        if (source / file).exists():
            (target / file).symlink_to(_own(source, file, name))
    settings = {key: value for key, value in (content | tokens).items() if value is not None}
    return sorted(settings.keys() - config.keys() - known.keys() - NOTES)


def _typed(token: Any) -> Any:
    # As tokenizer_config.json has tokens with options.
    if isinstance(token, list):
        return [*map(_typed, token)]
    return token | {"__type": "AddedToken"} if isinstance(token, dict) else token


def _own(source: Path, file: str, name: str) -> Path:
    """Return a checkpoint's file; a link may lead to blobs/, as in the Hub's cache, only."""
    homes = (source.resolve(), source.resolve().parent.parent / "blobs")
    path = (source / file).resolve()
    if not path.is_file() or not any(map(path.is_relative_to, homes)):
        raise InputError(f"{name}: {file} is not a regular file inside the checkpoint; refused")
    return path


def _read(source: Path, file: str, name: str) -> dict[str, Any]:
    """Return the JSON object in a file; an empty one if there is no such file."""
    if not (source / file).exists():
        return {}
    try:
        content = dict(json.loads(_own(source, file, name).read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{name}: {file} is not a valid JSON object ({error})") from error
    if "auto_map" in content:
        raise InputError(f"{name} needs code of its own (auto_map in {file}); refused")
    return content


def _load(directory: Path, name: str) -> tuple[PreTrainedModel, list[str]]:
    """Return the model in a rebuilt directory, and the weights of its head that it lacks."""
    try:
        config = CONFIG_MAPPING[_read(directory, "config.json", name)["model_type"]]
        config = config.from_pretrained(directory)
        architecture = str((config.architectures or [""])[0])
        classifies = architecture.endswith("ForSequenceClassification")
        loader = AutoModelForSequenceClassification if classifies else AutoModel
        model, found = loader.from_pretrained(
            directory, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except Exception as error:  # the libraries raise many kinds
        raise _unloadable(name, error) from error
    missing = sorted(key for key in found["missing_keys"] if not key.startswith(HEAD))
    if missing:
        raise InputError(f"{name} lacks {len(missing)} weights, {missing[0]} among them")
    return model, found["missing_keys"]


def _unloadable(name: str, error: Exception) -> InputError:
    return InputError(f"{name} can't be loaded as a checkpoint ({reason(error)})")
