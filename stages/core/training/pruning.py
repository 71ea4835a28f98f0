"""Structured pruning: feed-forward layers with fewer units, so that every engine is faster."""

from collections.abc import Iterator

import torch
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import prune_linear_layer

from stages.core.launch.errors import InputError
from stages.core.training.exchange import from_rank_zero

BATCH = 32  # texts
Pair = tuple[str, str]  # the names of a feed-forward layer's first and second linear layer


def pruned(
    model: PreTrainedModel,
    width: int | None,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
) -> PreTrainedModel:
    """Return a classifier with the `width` units of each feed-forward layer that matter most.

    It is the model itself if that is as wide, or `width` is None; else that is changed, too.

    Raises:
        InputError: its feed-forward layers are not found: pairs of linear ones of a width of their
            own.
    """
    key = "hidden_dim" if hasattr(model.config, "hidden_dim") else "intermediate_size"
    whole: int = getattr(model.config, key, 0)
    if width in (None, whole):
        return model
    pairs = feed_forward(model, whole)
    if not pairs or whole == model.config.hidden_size:  # or other linear layers may look like these
        raise InputError(
            f"the feed-forward layers of this {model.config.model_type} can't be pruned; use "
            "student.hidden_dim=null"
        )
    scores = from_rank_zero(lambda: importance(model, pairs, tokenizer, texts))
    for pair in pairs:
        kept = scores[pair].topk(width).indices.sort().values
        for dim, name in enumerate(pair):
            model.set_submodule(name, prune_linear_layer(model.get_submodule(name), kept, dim))
    setattr(model.config, key, width)
    student = type(model)(model.config)
    student.load_state_dict(model.state_dict())
    return student


def feed_forward(model: PreTrainedModel, width: int) -> list[Pair]:
    """Return the pairs of linear layers that feed-forward layers of that width are, in order."""
    linear = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    ]
    first = [name for name, module in linear if module.out_features == width]
    second = [name for name, module in linear if module.in_features == width]
    return [*zip(first, second, strict=False)]


def importance(
    model: PreTrainedModel,
    pairs: list[Pair],
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
) -> dict[Pair, torch.Tensor]:
    """Return how much each unit of each feed-forward layer matters to the logits, shape (units,).

    It is the squared change of a logit, centred, if a token's activation were 0, to first order:
    activation times gradient (Molchanov et al., 2019, arXiv:1906.10771), summed over tokens. A
    random mix of the logits, another one for each text, stands for all of them.
    """
    scores = {pair: torch.zeros(1) for pair in pairs}
    seen: list[tuple[Pair, torch.Tensor]] = []
    hooks = [
        model.get_submodule(pair[1]).register_forward_pre_hook(
            lambda _, inputs, pair=pair: seen.append((pair, inputs[0]))
        )
        for pair in pairs
    ]
    model.eval()
    for batch in batches(tokenizer, texts):
        logits = model(**batch).logits
        mix = torch.randn_like(logits)
        mix -= mix.mean(dim=1, keepdim=True)
        activations = [each for _, each in seen]
        gradients = torch.autograd.grad((mix * logits).sum(), activations)
        for (pair, activation), gradient in zip(seen, gradients, strict=True):
            changes = (activation.detach() * gradient).flatten(end_dim=-2)
            scores[pair] = scores[pair] + changes.square().sum(dim=0)
        seen.clear()
    for hook in hooks:
        hook.remove()
    return scores


def batches(
    tokenizer: PreTrainedTokenizerBase, texts: list[str]
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield a model's inputs for these texts, in batches of about equal length."""
    texts = sorted(texts, key=len)
    for start in tqdm(range(0, len(texts), BATCH), desc="units", unit="batch", disable=None):
        yield tokenizer(
            texts[start : start + BATCH], truncation=True, padding=True, return_tensors="pt"
        )
