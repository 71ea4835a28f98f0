import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    MPNetConfig,
    PretrainedConfig,
    RobertaConfig,
)

from stages.tools import peers
from stages.tools.peers import UnsupportedError, ctranslate2_int8, llama_cpp_q8, roofline
from stages.tools.peers import __main__ as tool
from stages.tools.peers.heads import HEADS, with_head, write_head
from tests.conftest import FORMS, ROOT

PREFIX = f"{peers.__name__}."
COMMAND = """
import runpy
from stages.tools import peers
peers.PEERS = {}
runpy.run_module("stages.tools.peers", run_name="__main__", alter_sys=True)
"""
SMALL = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "vocab_size": 20}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_peers_are_timed_and_judged_beside_our_forms(project: Callable, tiny: list[str]) -> None:
    installed = ("onnxruntime_dynamic", "openvino_nncf")
    settings = [*tiny, "benchmark.sweep.lengths=[8]", "benchmark.sweep.rounds=6"]
    # As a command: the processes that it starts can't import from its __main__.
    subprocess.run(
        [sys.executable, "-c", COMMAND.format((*installed, "llama_cpp_q8")), *settings],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
    )
    table = pd.read_csv("reports/peers.csv").set_index(["model", "engine"])
    for model in ("teacher", "student"):
        forms = [f"{model}_{form}" for form in FORMS]
        found = table.loc[model]
        assert {*found.index} == {*forms, *installed, "roofline"}
        assert found.index[-1] == "roofline"
        assert (found["ms"] > 0).all()
        assert (found.loc[forms, "share"] == 1).sum() == 1  # our fastest, of itself
        assert (found["test"] - found["test"][f"{model}_pytorch"]).abs().max() < 0.2
    page = Path("reports/peers.md").read_text()
    assert "llama.cpp, GGUF Q8_0: llama-cpp-python is not installed." in page
    assert "| OpenVINO, NNCF INT8" in page


@pytest.mark.parametrize(
    "config",
    [
        BertConfig(**SMALL, num_labels=3),
        DistilBertConfig(n_layers=1, dim=8, n_heads=2, hidden_dim=16, vocab_size=20, num_labels=3),
        RobertaConfig(**SMALL, num_labels=3),
    ],
    ids=[*HEADS],
)
def test_a_head_gives_the_logits_of_transformers(config: PretrainedConfig, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    model.save_pretrained(tmp_path)
    write_head(tmp_path, tmp_path)
    ids = torch.tensor([[3, 4, 5], [6, 7, 8]])
    with torch.no_grad():
        states, logits = model.base_model(ids)[0][:, 0], model(ids).logits
    inputs = {"input_ids": ids.numpy(), "attention_mask": np.array([[1, 1, 1], [1, 1, 0]])}

    def encode(rows: list[list[int]]) -> np.ndarray:
        assert rows == [[3, 4, 5], [6, 7]]  # without padding
        return states.numpy()

    found = with_head(tmp_path, encode)(inputs)
    assert found == pytest.approx(logits.numpy(), abs=1e-6)


@pytest.mark.parametrize(
    ("config", "make", "sentence"),
    [
        (MPNetConfig(), ctranslate2_int8.make, "heads.py knows no head of mpnet"),
        (RobertaConfig(), llama_cpp_q8.make, "llama_cpp_q8.py writes no roberta"),
    ],
)
def test_what_a_peer_cannot_serve_is_named(
    config: PretrainedConfig, make: Callable, sentence: str, tmp_path: Path
) -> None:
    config.save_pretrained(tmp_path)
    with pytest.raises(UnsupportedError, match=sentence):
        make(tmp_path, tmp_path, None)


def test_the_share_is_of_our_form_that_is_fastest_on_average() -> None:
    rows = [
        {"variant": name, "length": length, "round": number, "ms": ms * (1 + number)}
        for name, times in {"teacher_a": (1, 9), "teacher_b": (2, 2), "other": (4, 8)}.items()
        for length, ms in zip((8, 32), times, strict=True)
        for number in range(6)
    ]
    ours = [tool.Variant("teacher", form) for form in "ab"]
    times, fastest = tool.summarise(pd.DataFrame(rows), ours)
    assert fastest == "teacher_b"
    found = times.set_index(["engine", "length"])["share"]
    assert found["other"].tolist() == [0.5, 0.25]
    assert found["teacher_b"].tolist() == [1, 1]
    assert np.allclose(found["teacher_a"], [2, 2 / 9])


def test_every_engine_in_the_folder_is_a_peer() -> None:
    modules = [import_module(each.name) for each in iter_modules(peers.__path__, PREFIX)]
    found = {each.__name__.removeprefix(PREFIX) for each in modules if hasattr(each, "TITLE")}
    assert found == {*peers.PEERS}
    assert all(hasattr(each, "make") for each in modules if hasattr(each, "TITLE"))


def test_a_layer_needs_all_tokens_but_the_last_one_only_their_keys_and_values(
    tmp_path: Path,
) -> None:
    config = BertConfig(**SMALL | {"num_hidden_layers": 2}, intermediate_size=16, num_labels=3)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    square, feed_forward, head = 8 * 8, 2 * 8 * 16, 8 * 8 + 3 * 8
    found = roofline.work(tmp_path, tokens=5)
    assert found.bytes == 2 * (4 * square + feed_forward) + head
    every, once = 4 * square + feed_forward + 2 * square, 2 * square + feed_forward + head
    assert found.products == 2 * (5 * every + once)
    assert found.attention == 4 * (5 + 1) * 5 * 8


def test_layers_that_the_roofline_cannot_read_are_named(tmp_path: Path) -> None:
    config = DebertaV2Config(**SMALL, intermediate_size=16)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedError, match=r"key_proj.weight is for"):
        roofline.work(tmp_path, tokens=5)
