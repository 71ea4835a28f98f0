"""Loading a variant and asking it for logits: one code for export, evaluate, benchmark and profile.

As a service would, it imports a runtime only where that is used, which is half of the memory, and
encodes texts with the tokenizers library, without transformers, in a fifth of the time.
"""

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from stages.core.launch.errors import InputError, readable

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Inputs = dict[str, np.ndarray]  # by input name, each of shape (texts, tokens)


@dataclass(frozen=True)
class Classifier:
    """A loaded variant."""

    logits: Callable[[Inputs], np.ndarray]  # gives shape (texts, classes)
    labels: list[str]  # names of the classes
    positions: int  # the longest text that the model can read, in tokens
    threads: int  # read back from the runtime; 0 is ONNX Runtime's own choice


def load_tokenizer(directory: Path) -> Tokenizer:
    """Return a variant's tokenizer: it cuts where training did and pads to the longest text.

    Raises:
        InputError: there is no tokenizer, or it is damaged.
    """
    settings = _read_json(directory / "tokenizer_config.json")
    with readable(directory / "tokenizer.json") as file:
        tokenizer = Tokenizer.from_file(str(file))
    tokenizer.enable_truncation(settings["model_max_length"])
    tokenizer.enable_padding()  # with any token: the attention mask hides it
    return tokenizer


def encode(tokenizer: Tokenizer, texts: list[str]) -> Inputs:
    """Return texts as token ids, with the mask of what is not padding, and segment ids."""
    encodings = tokenizer.encode_batch_fast(texts)
    return {
        "input_ids": np.array([encoding.ids for encoding in encodings]),
        "attention_mask": np.array([encoding.attention_mask for encoding in encodings]),
        "token_type_ids": np.array([encoding.type_ids for encoding in encodings]),
    }


def classify(classifier: Classifier, tokenizer: Tokenizer, texts: list[str]) -> list[str]:
    """Return the label of each text: what a caller waits for."""
    answers = classifier.logits(encode(tokenizer, texts)).argmax(axis=1)
    return [classifier.labels[answer] for answer in answers]


def load_classifier(directory: Path, threads: int | None = None) -> Classifier:
    """Load a variant, whatever its form, to run on `threads` threads; None leaves the choice.

    Raises:
        InputError: there is no model, or it is damaged.
    """
    config = _read_json(directory / "config.json")
    onnx = directory / "model.onnx"
    logits, used = _load_onnx(onnx, threads) if onnx.exists() else _load_pytorch(directory, threads)
    names = config.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})  # transformers' own default
    labels = [names[str(number)] for number in range(len(names))]
    return Classifier(logits, labels, config["max_position_embeddings"], used)


def _read_json(file: Path) -> dict:
    if not file.exists():
        raise InputError(f"no model in {file.parent}; make it with: dvc repro")
    with readable(file):
        return json.loads(file.read_text())


Loaded = tuple[Callable[[Inputs], np.ndarray], int]


def _load_pytorch(directory: Path, threads: int | None) -> Loaded:
    import torch
    from transformers import AutoModelForSequenceClassification

    if threads:
        torch.set_num_threads(threads)
    with readable(directory / "model.safetensors"):
        model = AutoModelForSequenceClassification.from_pretrained(directory).eval()
    names = inspect.signature(model.forward).parameters

    @torch.no_grad()
    def logits(inputs: Inputs) -> np.ndarray:
        tensors = {name: torch.from_numpy(inputs[name]) for name in inputs if name in names}
        return model(**tensors).logits.numpy()

    return logits, torch.get_num_threads()


def _load_onnx(file: Path, threads: int | None) -> Loaded:
    session = open_session(file, threads)
    names = [node.name for node in session.get_inputs()]

    def logits(inputs: Inputs) -> np.ndarray:
        return session.run(None, {name: inputs[name] for name in names})[0]

    return logits, session.get_session_options().intra_op_num_threads


def open_session(
    file: Path, threads: int | None, profile: Path | None = None
) -> "InferenceSession":
    """Return an ONNX Runtime session as it is served.

    Args:
        file: the model.
        threads: how many work on one operator; None leaves the choice.
        profile: where to write a profile (to a name that begins so), if at all.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    with readable(file):
        return onnxruntime.InferenceSession(
            file,
            options,
            providers=["CPUExecutionProvider"],
            # The fusion of a sum with the normalisation after it is slower than its parts on a
            # CPU, at equal output.
            disabled_optimizers=["SkipLayerNormFusion"],
        )
