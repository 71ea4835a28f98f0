"""Checkpoints from elsewhere: they may be damaged, incomplete or hostile."""

import json
from pathlib import Path

from transformers import AutoModel, AutoTokenizer, PreTrainedModel

from stages.core.errors import InputError

HEAD = "pooler."  # belongs to a task: it may be missing, and is trained anew


def check_files(directory: Path, name: str) -> None:
    """Raise InputError unless a checkpoint's JSON is valid and asks for no code and no other place.

    Args:
        directory: of the checkpoint.
        name: what to call it in an error.
    """
    present = {file.name for file in directory.iterdir()}
    for file in sorted(directory.glob("*.json")):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            shards = set(dict(content).get("weight_map", {}).values())
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{name}: {file.name} is no valid JSON object ({error})") from error
        if "auto_map" in content:
            raise InputError(f"{name} needs code of its own (auto_map in {file.name}); refused")
        if not shards <= present:
            raise InputError(f"{name}: {file.name} names weights that are not beside it; refused")


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


def check_tokenizer(directory: Path, name: str) -> None:
    """Raise InputError unless a checkpoint's tokenizer can be loaded and cuts a text."""
    try:
        AutoTokenizer.from_pretrained(directory, trust_remote_code=False)("A text.")
    except Exception as error:  # tokenizers raises nothing narrower
        raise _unloadable(name, error) from error


def _unloadable(name: str, error: Exception) -> InputError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return InputError(f"{name} can't be loaded as a checkpoint ({reason})")
