"""Checkpoints from elsewhere: they may be damaged, incomplete or hostile."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from stages.core.launch.errors import InputError

# The keys by which transformers reads other files than those of the usual names.
REDIRECTIONS = ("configuration_files", "fast_tokenizer_files", "transformers_weights")
UNUSED = "special_tokens_map_file"  # which many a config names
CLASSIFIERS = tuple(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)
VOCABULARIES = ("tokenizer.json", "vocab.json", "added_tokens.json")  # whose keys are tokens
HEAD = "pooler."  # belongs to a task: it may be missing, and is trained anew


def check_files(directory: Path, name: str) -> None:
    """Raise InputError unless a checkpoint's JSON is valid and keeps to its own directory.

    Refused is what would make transformers 4 run code (CVE-2026-4372, CVE-2026-5241), read another
    file or write to another place (CVE-2026-9856); and all models but those that classify texts, of
    which some run code that lies beside them (CVE-2026-80047).

    Args:
        directory: of the checkpoint.
        name: what to call it in an error.
    """
    weights = {file.name for file in directory.glob("*.safetensors")}
    for file in sorted(directory.glob("*.json")):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            shards = set(dict(content).get("weight_map", {}).values())
            entries = [] if file.name in VOCABULARIES else list(_entries(content))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{name}: {file.name} is no valid JSON object ({error})") from error
        for key, value in entries:
            if needed := _from_elsewhere(key, value):
                raise InputError(f"{name} needs {needed} ({key} in {file.name}); refused")
        if file.name == "config.json" and content.get("model_type") not in CLASSIFIERS:
            raise InputError(
                f"{name}: config.json has model_type = {content.get('model_type')!r:.100}, which "
                "is no model that classifies texts; take another"
            )
        if not shards <= weights:
            raise InputError(
                f"{name}: {file.name} names weights that are no safetensors beside it; refused"
            )


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key and its value, at any depth."""
    if isinstance(value, dict):
        yield from value.items()
        value = list(value.values())
    if isinstance(value, list):
        for child in value:
            yield from _entries(child)


def _from_elsewhere(key: str, value: Any) -> str | None:
    if key == "auto_map" or (key == "trust_remote_code" and value):
        return "code of its own"
    if key.endswith(("attn_implementation", "attn_implementation_internal")) and (
        value not in (None, "eager", "sdpa")
    ):
        return "an attention from elsewhere"
    if value and (key in REDIRECTIONS or (key.endswith("_file") and key != UNUSED)):
        return "a file from elsewhere"
    if key == "chat_template" and not isinstance(value, str | None):
        return "files of its own naming"
    return None


def load_encoder(directory: Path, name: str) -> PreTrainedModel:
    """Return the encoder in a checkpoint, every weight of it from there.

    Args:
        directory: of the checkpoint.
        name: what to call it in an error.

    Raises:
        InputError: the checkpoint is refused, can't be loaded or lacks weights.
    """
    check_files(directory, name)
    try:
        model, found = AutoModel.from_pretrained(
            directory,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:  # the libraries raise many kinds
        raise _unloadable(name, error) from error
    missing = [key for key in found["missing_keys"] if not key.startswith(HEAD)]
    if missing:
        raise InputError(f"{name} lacks {len(missing)} weights, {sorted(missing)[0]} among them")
    return model


def check_encoder(directory: Path, name: str) -> None:
    """Raise InputError unless a checkpoint can be fine-tuned and served: texts in, logits out."""
    config = load_encoder(directory, name).config
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
        model = AutoModelForSequenceClassification.from_config(config).eval()
        texts = tokenizer(["A text.", "A text of more words."], padding=True, return_tensors="pt")
        outputs = set(model(**texts)) - set(getattr(config, "keys_to_ignore_at_inference", ()))
    except Exception as error:  # the libraries raise many kinds
        raise _unloadable(name, error) from error
    if outputs != {"logits"}:
        raise InputError(f"{name}: config.json asks for more outputs than logits; correct it")
    if not tokenizer.is_fast:
        raise InputError(f"{name} has no tokenizer.json and none can be made; take another model")
    if len(tokenizer) > config.vocab_size:
        raise InputError(
            f"{name}: its tokenizer has {len(tokenizer)} tokens, the model only {config.vocab_size}"
        )
    if not hasattr(config, "max_position_embeddings"):
        raise InputError(f"{name} doesn't tell max_position_embeddings; take another model")


def _unloadable(name: str, error: Exception) -> InputError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return InputError(f"{name} can't be loaded as a checkpoint ({reason})")
