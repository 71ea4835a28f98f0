"""Export a checkpoint to ONNX and hold it against PyTorch."""

from pathlib import Path

import numpy as np
import torch
from optimum.exporters.onnx import onnx_export_from_model
from pydantic.dataclasses import dataclass
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from stages.core.app import launch
from stages.core.config import STRICT
from stages.core.corpus import load_corpus
from stages.core.errors import InputError, readable
from stages.core.files import whole_directory
from stages.core.inference import encode, load_classifier, load_tokenizer
from stages.core.layout import existing, variant_directory
from stages.core.settings import ExportConfig

BATCH_SIZES = (1, 3, 8)
# Models whose head reads the first token alone: where their layers are, and in a layer what makes
# the queries and what normalises the attention's output.
BERT = ("encoder.layer", "attention.self.query", "attention.output.LayerNorm")
FIRST_TOKEN_MODELS = {
    "bert": BERT,
    "camembert": BERT,
    "distilbert": ("transformer.layer", "attention.q_lin", "sa_layer_norm"),
    "electra": BERT,
    "roberta": BERT,
    "xlm-roberta": BERT,
}


@dataclass(config=STRICT)
class Config:
    """Settings of this stage."""

    export: ExportConfig


def run(config: Config) -> str:
    """Write a model's onnx variant, once its logits equal PyTorch's."""
    settings = config.export
    checkpoint = existing(variant_directory(f"{settings.model}_pytorch"))
    target = variant_directory(f"{settings.model}_onnx")
    texts = load_corpus()["validation"]["text"][:]
    with readable(checkpoint / "model.safetensors"):
        # The plain attention becomes fewer operators than the fused one.
        model = AutoModelForSequenceClassification.from_pretrained(
            checkpoint, attn_implementation="eager"
        )
    trimmed = settings.trim_last_layer and trim_last_layer(model)
    with whole_directory(target) as directory:
        # What optimum's main_export calls for a model that it has loaded itself.
        onnx_export_from_model(
            model=model,
            output=directory,
            task="text-classification",
            do_validation=False,  # ours is stricter: real sentences, several lengths and batches
        )
        difference = largest_difference(checkpoint, directory, texts)
        if not difference <= settings.tolerance:
            raise InputError(
                f"the {settings.model}'s ONNX logits differ from PyTorch's by "
                f"{difference:.1e}, more than export.tolerance = {settings.tolerance:.0e}"
                + ("; try export.trim_last_layer=false" if trimmed else "")
            )
    layer = "its last layer for the first token alone" if trimmed else "all of it for every token"
    return f"{target}, {layer}, within {difference:.1e} of PyTorch's logits"


def trim_last_layer(model: PreTrainedModel) -> bool:
    """Let a classifier's last layer compute the first token alone, if its head reads no other.

    That token still attends to all. Tells whether it is such a model.
    """
    if model.config.model_type not in FIRST_TOKEN_MODELS:
        return False
    layers, *parts = FIRST_TOKEN_MODELS[model.config.model_type]
    last = model.base_model.get_submodule(f"{layers}.{model.config.num_hidden_layers - 1}")
    for part in parts:
        last.get_submodule(part).register_forward_pre_hook(_first_token)
    return True


def _first_token(_: torch.nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
    return inputs[0][:, :1]


def largest_difference(checkpoint: Path, onnx: Path, texts: list[str]) -> float:
    """Return the largest difference between the logits of a checkpoint and of its export.

    Takes, for every batch size, the shortest, the median and the longest of `texts`.
    """
    tokenizer = load_tokenizer(checkpoint)
    pytorch, exported = load_classifier(checkpoint), load_classifier(onnx)
    texts = sorted(texts, key=len)
    differences = []
    for size in BATCH_SIZES:
        middle = len(texts) // 2
        for batch in (texts[:size], texts[middle : middle + size], texts[-size:]):
            inputs = encode(tokenizer, batch)
            differences.append(np.abs(pytorch.logits(inputs) - exported.logits(inputs)).max())
    return float(np.max(differences))  # not a number, if one of them is not


if __name__ == "__main__":
    launch(run, Config)
