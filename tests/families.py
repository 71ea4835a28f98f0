"""A tiny random encoder of every family that people fine-tune, each with its kind of tokenizer."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AlbertTokenizerFast,
    AutoConfig,
    AutoModel,
    BertTokenizerFast,
    CamembertTokenizerFast,
    DebertaV2TokenizerFast,
    MPNetTokenizerFast,
    PreTrainedTokenizerFast,
    RobertaTokenizerFast,
    XLMRobertaTokenizerFast,
)

from tests.conftest import BAD, FILLERS, GOOD

WORDS = [*GOOD, *BAD, *FILLERS]
BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def wordpiece(kind: Any, special: tuple[str, ...]) -> Any:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        print(*special, *WORDS, sep="\n", file=file, flush=True)
        return kind(file.name)


def subwords(kind: str, special: tuple[str, ...]) -> Tokenizer:
    """Return a byte-level BPE or a Unigram tokenizer of the toy words."""
    if kind == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer: Any = trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=[*special],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=120,
            special_tokens=[*special],
            unk_token="<unk>",  # noqa: S106
            show_progress=False,
        )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 5, trainer)
    ids = {name: tokenizer.token_to_id(name) for name in special}
    first, last = next((a, b) for a, b in (("<s>", "</s>"), ("[CLS]", "[SEP]")) if a in ids)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B {last}",
        special_tokens=[(first, ids[first]), (last, ids[last])],
    )
    return tokenizer


PIECES = ("[PAD]", "<unk>", "[CLS]", "[SEP]", "[MASK]")
# How each family's tokenizer is made, and what its config has beside the common shape.
FAMILIES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "roberta": (
        lambda: RobertaTokenizerFast(tokenizer_object=subwords("bpe", ROBERTA)),
        {"pad_token_id": 1, "max_position_embeddings": 66},
    ),
    "xlm-roberta": (
        lambda: XLMRobertaTokenizerFast(tokenizer_object=subwords("unigram", ROBERTA)),
        {"pad_token_id": 1, "max_position_embeddings": 66},
    ),
    "camembert": (
        lambda: CamembertTokenizerFast(tokenizer_object=subwords("unigram", ROBERTA)),
        {"pad_token_id": 1, "max_position_embeddings": 66},
    ),
    "mpnet": (
        lambda: wordpiece(MPNetTokenizerFast, (*ROBERTA, "[UNK]")),
        {"pad_token_id": 1, "max_position_embeddings": 66},
    ),
    "albert": (
        lambda: AlbertTokenizerFast(tokenizer_object=subwords("unigram", ("<pad>", *PIECES))),
        {"embedding_size": 16},
    ),
    "deberta-v2": (
        lambda: DebertaV2TokenizerFast(tokenizer_object=subwords("unigram", PIECES)),
        {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_buckets": 16,
            "type_vocab_size": 0,
        },
    ),
    "modernbert": (
        lambda: PreTrainedTokenizerFast(
            tokenizer_object=subwords("bpe", BERT),
            model_input_names=["input_ids", "attention_mask"],
            **dict(
                zip(
                    ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"),
                    BERT,
                    strict=True,
                )
            ),
        ),
        {
            "pad_token_id": 0,
            "max_position_embeddings": 8192,
            "local_attention": 8,
            "num_hidden_layers": 5,
        },
    ),
    "electra": (lambda: wordpiece(BertTokenizerFast, BERT), {"embedding_size": 16}),
    "distilbert": (
        lambda: wordpiece(BertTokenizerFast, BERT),  # which gives token types that it doesn't read
        {"hidden_dim": 64},
    ),
}


def make(family: str, directory: Path) -> Path:
    """Write a tiny random encoder with its tokenizer."""
    tokenizer, changes = FAMILIES[family][0](), FAMILIES[family][1]
    tokenizer.save_pretrained(directory)
    shape = {
        "vocab_size": len(tokenizer) + 3,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "initializer_range": 0.1,
        "pad_token_id": tokenizer.pad_token_id,
    }
    torch.manual_seed(0)
    AutoModel.from_config(AutoConfig.for_model(family, **{**shape, **changes})).save_pretrained(
        directory
    )
    return directory
