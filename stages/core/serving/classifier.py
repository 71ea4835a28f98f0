"""A loaded variant: the same code serves it to export, evaluate, benchmark, profile and predict.

As a service would, it imports an engine only where that is used, which halves the memory, and
encodes texts with the tokenizers library, without transformers, in a fifth of the time.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from stages.core.engines import Inputs, Logits, Sample, load_engine
from stages.core.launch.cores import cores
from stages.core.launch.errors import InputError, read_json, readable
from stages.core.serving.variant import MANIFEST, Manifest

if TYPE_CHECKING:
    from datasets import DatasetDict


@dataclass(frozen=True)
class Classifier:
    """A loaded variant."""

    logits: Logits
    labels: list[str]  # names of the classes
    threads: int  # read back from the engine


def load_tokenizer(directory: Path) -> Tokenizer:
    """Return a variant's tokenizer: it truncates where training did and pads to the longest text.

    Raises:
        FileNotFoundError: there is no tokenizer.
        InputError: it is damaged.
    """
    settings = read_json(directory / "tokenizer_config.json")
    with readable(directory / "tokenizer.json") as file:
        tokenizer = Tokenizer.from_file(str(file))
    tokenizer.enable_truncation(settings["model_max_length"])
    padding = settings.get("pad_token")
    token = padding["content"] if isinstance(padding, dict) else padding
    number = tokenizer.token_to_id(token) if token else None
    tokenizer.enable_padding(
        direction=settings.get("padding_side", "right"),
        # Where there is none, any token will do: the attention mask hides it.
        **({"pad_id": number, "pad_token": token} if number is not None else {}),
    )
    return tokenizer


def encode(tokenizer: Tokenizer, texts: list[str]) -> Inputs:
    """Return texts as token ids, attention mask and segment ids."""
    encodings = tokenizer.encode_batch_fast(texts)
    return {
        "input_ids": np.array([encoding.ids for encoding in encodings]),
        "attention_mask": np.array([encoding.attention_mask for encoding in encodings]),
        "token_type_ids": np.array([encoding.type_ids for encoding in encodings]),
    }


def sampler(tokenizer: Tokenizer, corpus: "DatasetDict") -> Sample:
    """Return a function that encodes texts from all over a split of the corpus."""

    def sample(split: str, count: int) -> list[Inputs]:
        texts = corpus[split]["text"][:]
        return [encode(tokenizer, [text]) for text in texts[:: max(1, len(texts) // count)]]

    return sample


def copy_description(source: Path, target: Path) -> None:
    """Copy all but the weights and the manifest from one variant's directory to another."""
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        # Nor the weights' data, where that is a file of its own.
        if not file.name.startswith(("model.onnx", "model.safetensors")) and file.name != MANIFEST:
            shutil.copyfile(file, target / file.name)


def load_classifier(directory: Path, threads: int | None = None) -> Classifier:
    """Load a variant with its engine, to run on `threads` threads; None: on all cores.

    Raises:
        FileNotFoundError: there is no model.
        InputError: it is damaged, or its engine is unknown.
    """
    manifest = Manifest.read(directory)
    try:
        engine = load_engine(manifest.engine)
    except ValueError as error:
        raise InputError(f"{directory / MANIFEST}: {error}") from error
    return load_with(engine, directory, threads or cores())


def load_with(engine: ModuleType, directory: Path, threads: int) -> Classifier:
    """Load what an engine has in a directory, with the labels in config.json."""
    os.environ["RAYON_NUM_THREADS"] = str(threads)  # the tokenizer's, at its first use
    config = read_json(directory / "config.json")
    logits, used = engine.load(directory, threads)
    names = config.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})  # transformers' own default
    labels = [names[str(number)] for number in range(len(names))]
    return Classifier(logits, labels, used)
