"""The logits of a classifier for many texts."""

import numpy as np
import torch
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stages.core.launch.processes import rank, world_size
from stages.core.training.exchange import summed

BATCH = 64  # texts
CHUNK = 10_000  # texts whose tokens are in memory at once


def logits_of(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    *,
    bf16: bool,
    name: str,
) -> np.ndarray:
    """Return the model's logits, float32, shape (texts, classes), in batches of about equal length.

    The model is in evaluation mode, and computes where it is; processes share the batches. `name`
    is that of the progress bar.
    """
    order = np.argsort(token_counts(tokenizer, texts), kind="stable")
    logits = np.zeros((len(texts), model.config.num_labels), dtype=np.float32)
    batches = np.array_split(order, max(1, len(order) // BATCH))
    with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16, bf16):
        for batch in tqdm(batches[rank() :: world_size()], desc=name, unit="batch", disable=None):
            chosen = [texts[place] for place in batch]
            inputs = tokenizer(chosen, truncation=True, padding=True, return_tensors="pt")
            logits[batch] = model(**inputs.to(model.device)).logits.float().cpu().numpy()
    return summed(torch.from_numpy(logits).to(model.device)).cpu().numpy()


def token_counts(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> np.ndarray:
    """Return how many tokens each text has, cut at the tokenizer's limit.

    The number of characters predicts it so badly that a fifth of each batch would be padding.
    """
    counts = [
        len(ids)
        for start in range(0, len(texts), CHUNK)
        for ids in tokenizer(texts[start : start + CHUNK], truncation=True)["input_ids"]
    ]
    return np.array(counts)
