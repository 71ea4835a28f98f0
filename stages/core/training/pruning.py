"""Structured pruning: feed-forward layers with fewer units, so that every engine is faster."""

from collections.abc import Iterator

import torch
from tqdm import tqdm
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import prune_linear_layer

from stages.core.launch.errors import InputError
from stages.core.training.exchange import from_rank_zero

BATCH = 32  # texts
Pair = tuple[str, str]  # the names of a feed-forward layer's first and second linear layer


def units_key(config: PretrainedConfig) -> str:
    """Return a config's name for the number of units of a feed-forward layer."""
    return "hidden_dim" if hasattr(config, "hidden_dim") else "intermediate_size"


def pruned(
    model: PreTrainedModel,
    width: int | None,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
) -> PreTrainedModel:
    """Return a classifier with the `width` units of each feed-forward layer that matter most.

    Changes `model`; returns it as it is if `width` is None, or the number of units that it has.

    Raises:
        InputError: its feed-forward layers are not pairs of linear ones.
    """
    key = units_key(model.config)
    whole = getattr(model.config, key, None)
    if width in (None, whole):
        return model
    refusal = InputError(
        f"the feed-forward layers of this {model.config.model_type} can't be pruned; use "
        "student.hidden_dim=null"
    )
    pairs = feed_forward(model, whole)
    if not pairs:
        raise refusal
    scores = from_rank_zero(lambda: importance(model, pairs, tokenizer, texts))
    for pair in pairs:
        kept = scores[pair].topk(width).indices.sort().values
        for dim, name in enumerate(pair):
            model.set_submodule(name, prune_linear_layer(model.get_submodule(name), kept, dim))
    setattr(model.config, key, width)
    student = type(model)(model.config)
    try:
        student.load_state_dict(model.state_dict())
    except RuntimeError as error:  # a layer of that shape was something else
        raise refusal from error
    return student


def feed_forward(model: PreTrainedModel, width: int | None) -> list[Pair]:
    """Return the feed-forward layers of that width, in order; none if they are not such pairs."""
    hidden = model.config.hidden_size
    shapes = {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.startswith(model.base_model_prefix)
    }
    found = [name for name, shape in shapes.items() if {*shape} == {hidden, width}]
    pairs = [*zip(found[::2], found[1::2], strict=False)]
    fit = all(shapes[first] == (hidden, width) != shapes[second] for first, second in pairs)
    return pairs if fit and width != hidden else []


def importance(
    model: PreTrainedModel,
    pairs: list[Pair],
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
) -> dict[Pair, torch.Tensor]:
    """Return how much each unit of each feed-forward layer matters to the logits, shape (units,).

    It is the squared change, to first order, that zeroing the unit at one token makes to a centred
    logit: activation times gradient (Molchanov et al., 2019, arXiv:1906.10771), summed over tokens.
    A random mix of the logits, another one for each text, stands for all of them.
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
    for start in tqdm(
        range(0, len(texts), BATCH), desc="importance of units", unit="batch", disable=None
    ):
        yield tokenizer(
            texts[start : start + BATCH], truncation=True, padding=True, return_tensors="pt"
        )
