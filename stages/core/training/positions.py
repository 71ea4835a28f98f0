"""How long a text a model can read."""

import torch
from transformers import AutoModel, PretrainedConfig


def longest_text(config: PretrainedConfig) -> int:
    """Return the length in tokens of the longest text that a model with that config can read.

    RoBERTa's descendants number positions from the padding token's id + 1, and never use those
    below it.
    """
    with torch.device("meta"):
        modules = dict(AutoModel.from_config(config).named_modules())
    positions = config.max_position_embeddings
    for name, table in modules.items():
        if name.endswith("position_embeddings") and isinstance(table, torch.nn.Embedding):
            reserved = 0 if table.padding_idx is None else table.padding_idx + 1
            positions = min(positions, table.num_embeddings - reserved)
    return positions
