"""Checkpoints from elsewhere are rebuilt from what is known, or refused in one line."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    BertTokenizerFast,
    GPT2Config,
    GPT2Model,
    ViTConfig,
    ViTModel,
)

from stages.core.launch.errors import InputError
from stages.core.training.checkpoints import check_export, rebuild

TEXTS = ["good film", "the plot was very bad and quite dull"]


@pytest.fixture
def mine(sources: Path, tmp_path: Path) -> Path:
    """Return a checkpoint of one's own: a copy of the toy encoder."""
    return shutil.copytree(sources / "encoder", tmp_path / "mine")


@pytest.fixture
def rebuilt(mine: Path, tmp_path: Path) -> Callable[[], Path]:
    """Return what rebuilds it, and returns where."""

    def call() -> Path:
        (tmp_path / "rebuilt").mkdir()
        rebuild(mine, tmp_path / "rebuilt", "mine")
        return tmp_path / "rebuilt"

    return call


def add_to(file: Path, key: str, value: Any) -> None:
    """Set a key of the JSON object in a file, if there is one yet."""
    there = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(there | {key: value}))


def answers(directory: Path) -> tuple[list[list[int]], torch.Tensor]:
    """Return the token ids of TEXTS, and what the encoder makes of them."""
    tokens = AutoTokenizer.from_pretrained(directory)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(directory).eval()(**tokens).last_hidden_state
    return tokens["input_ids"].tolist(), hidden


def test_a_rebuilt_encoder_computes_the_same_without_pickle_and_code(
    mine: Path, rebuilt: Callable[[], Path]
) -> None:
    for name in ("pytorch_model.bin", "modeling_evil.py", "README.md"):
        (mine / name).touch()
    directory = rebuilt()
    names = {path.name for path in directory.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not names & {"pytorch_model.bin", "modeling_evil.py", "README.md"}
    assert answers(directory)[0] == answers(mine)[0]
    assert torch.equal(answers(directory)[1], answers(mine)[1])


def test_the_same_checkpoint_gives_the_same_bytes(mine: Path, tmp_path: Path) -> None:
    both = [tmp_path / "one", tmp_path / "two"]
    for target in both:
        target.mkdir()
        rebuild(mine, target, "mine")
    one, two = ({file.name: file.read_bytes() for file in each.iterdir()} for each in both)
    assert one == two


def test_a_fine_tuned_classifier_keeps_its_head_and_labels(
    mine: Path, rebuilt: Callable[[], Path]
) -> None:
    labels = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}
    classifier = BertForSequenceClassification.from_pretrained(mine, **labels)
    classifier.save_pretrained(mine)
    again = BertForSequenceClassification.from_pretrained(rebuilt())
    assert again.config.id2label == labels["id2label"]
    assert torch.equal(again.classifier.weight, classifier.classifier.weight)


def test_a_pooler_that_is_missing_stays_missing(mine: Path, rebuilt: Callable[[], Path]) -> None:
    model = AutoModel.from_pretrained(mine)
    weights = {key: value for key, value in model.state_dict().items() if "pooler" not in key}
    model.save_pretrained(mine, state_dict=weights)
    _, found = AutoModel.from_pretrained(rebuilt(), output_loading_info=True)
    assert set(found["missing_keys"]) == {"pooler.dense.bias", "pooler.dense.weight"}


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "_attn_implementation_internal", "evil/attention"),
        ("config.json", "attn_implementation", {"": "evil/attention"}),
        ("config.json", "nested", {"config": [{"trust_remote_code": True}]}),
        ("config.json", "configuration_files", ["config.4.0+token.json"]),
        ("config.json", "transformers_weights", "../other.safetensors"),
        ("config.json", "return_dict", False),
        ("config.json", "output_hidden_states", True),
        ("tokenizer_config.json", "vocab_file", "/etc/passwd"),
        ("tokenizer_config.json", "tokenizer_file", "../tokenizer.json"),
        ("tokenizer_config.json", "chat_template", [{"name": "../../evil", "template": "x"}]),
        ("tokenizer_config.json", "fast_tokenizer_files", ["../tokenizer.4.0.0.json"]),
        ("special_tokens_map.json", "chat_template", "{{ evil }}"),
    ],
)
def test_an_unknown_key_is_dropped_and_named(
    mine: Path, tmp_path: Path, file: str, key: str, value: Any
) -> None:
    before = answers(mine)
    add_to(mine / file, key, value)
    (tmp_path / "rebuilt").mkdir()
    assert key in rebuild(mine, tmp_path / "rebuilt", "mine")
    for each in (tmp_path / "rebuilt").glob("*.json"):
        assert f'"{key}"' not in each.read_text()
    assert answers(tmp_path / "rebuilt")[0] == before[0]
    assert torch.equal(answers(tmp_path / "rebuilt")[1], before[1])


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_checkpoint_that_needs_its_own_code_is_refused(
    mine: Path, rebuilt: Callable[[], Path], file: str
) -> None:
    add_to(mine / file, "auto_map", {"AutoModel": "modeling_evil.Model"})
    (mine / "modeling_evil.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(InputError, match=rf"needs code of its own \(auto_map in {file}\); refused"):
        rebuilt()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("classifier_dropout", 5, "can't be loaded"),
        ("vocab_size", 5, "can't be loaded"),
        ("hidden_size", "wide", "can't be loaded"),
        ("num_attention_heads", 0, "can't be loaded"),
        ("hidden_act", "evil", "can't be loaded"),
        ("model_type", "nonesuch", "'nonesuch', which is not a model that classifies"),
        ("model_type", ["bert"], "which is not a model that classifies"),
        ("model_type", None, "model_type = None, which is not a model that classifies"),
    ],
)
def test_a_config_that_makes_no_classifier_is_refused(
    mine: Path, rebuilt: Callable[[], Path], key: str, value: Any, message: str
) -> None:
    add_to(mine / "config.json", key, value)
    with pytest.raises(InputError, match=message):
        rebuilt()


@pytest.mark.parametrize("pads", [False, True])
def test_an_encoder_must_be_able_to_read_a_batch(
    mine: Path, rebuilt: Callable[[], Path], pads: bool
) -> None:
    shape = {"n_positions": 64, "n_embd": 8, "n_layer": 1, "n_head": 1}
    config = GPT2Config(24, **shape, **({"pad_token_id": 0} if pads else {}))
    GPT2Model(config).save_pretrained(mine)
    if pads:
        rebuilt()
    else:
        with pytest.raises(InputError, match="Cannot handle batch sizes > 1"):
            rebuilt()


def test_a_model_of_images_is_refused(mine: Path, rebuilt: Callable[[], Path]) -> None:
    ViTModel(ViTConfig(32, 1, 1, 32, image_size=16)).save_pretrained(mine)
    with pytest.raises(InputError, match="model_type = 'vit', which is not a model that"):
        rebuilt()


def test_other_weights_are_refused(mine: Path, rebuilt: Callable[[], Path]) -> None:
    save_file({"unrelated": np.zeros(3)}, mine / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"mine lacks \d+ weights, embeddings\..* among them"):
        rebuilt()


@pytest.mark.parametrize("place", ["secret", "/dev/zero", "pipe"])
@pytest.mark.parametrize("file", ["vocab.txt", "config.json", "model.safetensors"])
def test_a_link_to_elsewhere_is_refused(
    mine: Path, rebuilt: Callable[[], Path], tmp_path: Path, file: str, place: str
) -> None:
    (tmp_path / "secret").write_text("secret")
    os.mkfifo(tmp_path / "pipe")
    (mine / file).unlink()
    (mine / file).symlink_to(tmp_path / place)
    with pytest.raises(InputError, match=rf"{file} is not a regular file inside the"):
        rebuilt()


def test_a_revision_in_the_cache_of_the_hub_is_a_checkpoint(mine: Path, tmp_path: Path) -> None:
    revision = tmp_path / "hub" / "snapshots" / "0123"
    revision.mkdir(parents=True)
    shutil.copytree(mine, tmp_path / "hub" / "blobs")
    for file in mine.iterdir():
        (revision / file.name).symlink_to(Path("..", "..", "blobs", file.name))
    (tmp_path / "rebuilt").mkdir()
    rebuild(revision, tmp_path / "rebuilt", "mine")
    assert not any(file.is_symlink() for file in (tmp_path / "rebuilt").iterdir())


def test_weights_in_several_files_are_one_model(mine: Path, rebuilt: Callable[[], Path]) -> None:
    before = answers(mine)[1]
    model = AutoModel.from_pretrained(mine)
    (mine / "model.safetensors").unlink()
    model.save_pretrained(mine, max_shard_size="40KB")
    assert (mine / "model.safetensors.index.json").exists()
    assert torch.equal(answers(rebuilt())[1], before)


DEEP = "[" * 200_000
NO_JSON = "is not a valid JSON object"
ELSEWHERE = "names weights that are not safetensors beside it"
HOSTILE = [
    *(("config.json", content, NO_JSON) for content in ("", '{"model_type": "be', "[]x", "[1]")),
    *(("config.json", content, NO_JSON) for content in ("null", '"text"', "\ufeff{}", DEEP)),
    ("config.json", "{}", "model_type = None, which is not a model that classifies"),
    ("config.json", '{"model_type": "bert"}', "can't be loaded"),  # of another shape
    ("tokenizer.json", "", "can't be loaded"),
    ("tokenizer.json", DEEP, "can't be loaded"),
    ("tokenizer.json", "{}", "can't be loaded"),
    ("tokenizer.json", '{"version": "1.0", "model": null}', "can't be loaded"),
    ("tokenizer_config.json", "[", NO_JSON),
    ("tokenizer_config.json", '{"tokenizer_class": "Evil"}', "can't be loaded"),
    ("tokenizer_config.json", '{"tokenizer_class": 7}', "can't be loaded"),
    ("model.safetensors", "", "can't be loaded"),
    ("model.safetensors", "no tensors", "can't be loaded"),
    ("model.safetensors", "\xff" * 8, "can't be loaded"),  # a header of 2**64 bytes
    ("model.safetensors.index.json", '{"weight_map": 3}', ELSEWHERE),
    ("model.safetensors.index.json", '{"weight_map": {"a": [1]}}', ELSEWHERE),
    ("model.safetensors.index.json", '{"weight_map": {"a": "../../secret.bin"}}', ELSEWHERE),
    ("model.safetensors.index.json", '{"weight_map": {"a": "vocab.txt"}}', ELSEWHERE),  # a pickle
]


@pytest.mark.parametrize(
    ("file", "content", "message"), HOSTILE, ids=[f"{c[0]} {c[1][:30]}" for c in HOSTILE]
)
def test_a_malformed_file_is_one_message(
    mine: Path, rebuilt: Callable[[], Path], file: str, content: str, message: str
) -> None:
    (mine / file).write_bytes(content.encode("latin-1" if "\xff" in content else "utf-8"))
    with pytest.raises(InputError, match=message) as caught:
        rebuilt()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_an_incomplete_checkpoint_is_refused(
    mine: Path, rebuilt: Callable[[], Path], missing: str
) -> None:
    (mine / "vocab.txt").unlink()
    (mine / missing).rename(mine / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"written by save_pretrained \(pickled .* not read\)"):
        rebuilt()


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("ernie", {}, "'ernie', which optimum can't export to ONNX as a classifier"),
        ("xlnet", {"d_model": 32, "n_layer": 1, "n_head": 2}, "can't export|max_position|load"),
        ("longformer", {"attention_window": 4}, "needs global_attention_mask, which no engine"),
    ],
)
def test_what_can_not_be_exported_or_served_is_refused_by_name(
    mine: Path, rebuilt: Callable[[], Path], family: str, changes: dict, message: str
) -> None:
    shape = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = AutoConfig.for_model(family, **shape | {"intermediate_size": 64} | changes)
    AutoModel.from_config(config).save_pretrained(mine)
    with pytest.raises(InputError, match=message):
        rebuilt()


def test_a_model_of_two_gibibytes_is_refused() -> None:
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(
            AutoConfig.for_model(
                "bert", hidden_size=2048, num_attention_heads=16, intermediate_size=8192
            )
        )
    with pytest.raises(InputError, match=r"mine has 2.5 GiB of weights in fp32, and an ONNX file"):
        check_export(model, "mine")


def test_a_tokenizer_that_pads_to_a_fixed_length_is_saved_without(
    mine: Path, rebuilt: Callable[[], Path]
) -> None:
    file = mine / "tokenizer.json"
    content = json.loads(file.read_text())
    content["padding"] = {
        **{"strategy": {"Fixed": 128}, "direction": "Right", "pad_to_multiple_of": None},
        **{"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
    }
    file.write_text(json.dumps(content))
    assert len(Tokenizer.from_file(str(file)).encode("good film").ids) == 128
    tokenizer = Tokenizer.from_file(str(rebuilt() / "tokenizer.json"))
    assert len(tokenizer.encode("good film").ids) == 4


def test_an_old_path_of_a_tokenizers_file_is_dropped(
    mine: Path, rebuilt: Callable[[], Path]
) -> None:
    add_to(mine / "tokenizer_config.json", "tokenizer_file", "/home/someone/.cache/x.json")
    (mine / "tokenizer.json").unlink()  # vocab.txt stays
    before = AutoTokenizer.from_pretrained(mine)(TEXTS)["input_ids"]
    assert AutoTokenizer.from_pretrained(rebuilt())(TEXTS)["input_ids"] == before


def test_special_tokens_with_options_are_read(mine: Path, rebuilt: Callable[[], Path]) -> None:
    config = json.loads((mine / "tokenizer_config.json").read_text())
    del config["mask_token"]
    (mine / "tokenizer_config.json").write_text(json.dumps(config))
    options = {"lstrip": True, "rstrip": False, "normalized": False, "single_word": False}
    more = [{"content": "lovely", **options}]
    add_to(mine / "special_tokens_map.json", "mask_token", {"content": "[MASK]", **options})
    add_to(mine / "special_tokens_map.json", "additional_special_tokens", more)
    tokens = AutoTokenizer.from_pretrained(rebuilt()).tokenize("film [MASK] lovely")
    assert tokens == ["film", "[MASK]", " lovely"]  # lstrip takes the space


def test_a_tokenizer_class_that_config_json_names_counts(
    mine: Path, rebuilt: Callable[[], Path]
) -> None:
    config = json.loads((mine / "config.json").read_text())
    (mine / "config.json").write_text(json.dumps(config | {"tokenizer_class": "Evil"}))
    (mine / "tokenizer_config.json").unlink()
    with pytest.raises(InputError, match="can't be loaded"):
        rebuilt()


def test_a_large_vocabulary_is_not_taken_for_a_mistrals(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("transformers.tokenization_utils_base").addHandler(caplog.handler)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(str, range(100_001))]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    config = {"model_type": "bert", "transformers_version": transformers.__version__}
    (tmp_path / "config.json").write_text(json.dumps(config))
    AutoTokenizer.from_pretrained(tmp_path)
    assert not caplog.records
