from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    MPNetConfig,
    PretrainedConfig,
    RobertaConfig,
)

from stages.tools import peers
from stages.tools.peers import __main__ as tool
from stages.tools.peers import roofline
from stages.tools.peers.heads import HEADS, UnsupportedError, load_head, model_type, write_head

SMALL = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "vocab_size": 20}


@pytest.mark.slow
def test_peers_are_timed_and_judged_beside_our_forms(
    project: Callable, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = ("onnxruntime_dynamic", "openvino_nncf")
    monkeypatch.setattr(tool, "PEERS", (*installed, "llama_cpp_q8"))
    tool.run([*tiny, "benchmark.sweep.lengths=[8]", "benchmark.sweep.rounds=6"])
    table = pd.read_csv("reports/peers.csv").set_index(["model", "engine"])
    for model in ("teacher", "student"):
        forms = [f"{model}_{form}" for form in ("pytorch", "onnx", "int8")]
        found = table.loc[model]
        assert [*found.index] == sorted([*forms, *installed])
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
    assert load_head(tmp_path)(states.numpy()) == pytest.approx(logits.numpy(), abs=1e-6)


def test_an_unknown_head_is_named(tmp_path: Path) -> None:
    MPNetConfig().save_pretrained(tmp_path)
    with pytest.raises(UnsupportedError, match="has no mpnet"):
        model_type(tmp_path)


def test_the_share_is_of_our_form_that_is_fastest_on_average() -> None:
    rows = [
        {"variant": name, "length": length, "round": number, "ms": ms * (1 + number)}
        for name, times in {"teacher_a": (1, 9), "teacher_b": (2, 2), "other": (4, 8)}.items()
        for length, ms in zip((8, 32), times, strict=True)
        for number in range(6)
    ]
    ours = [tool.Variant("teacher", form) for form in "ab"]
    found = tool.summarise(pd.DataFrame(rows), ours).set_index(["engine", "length"])["share"]
    assert found["other"].tolist() == [0.5, 0.25]
    assert found["teacher_b"].tolist() == [1, 1]
    assert np.allclose(found["teacher_a"], [2, 2 / 9])


def test_every_peer_has_a_title_and_its_packages() -> None:
    folder = Path(peers.__file__).parent
    others = {"__init__", "__main__", "heads", "roofline", "worker"}
    assert {file.stem for file in folder.glob("*.py")} - others == {*peers.PEERS}


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
