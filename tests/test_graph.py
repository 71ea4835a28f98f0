"""An optimized graph gives the same logits, from less work."""

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import torch
from onnxruntime.transformers.onnx_model import OnnxModel
from optimum.exporters.onnx import main_export
from transformers import AutoConfig, AutoModelForSequenceClassification

from stages.core.errors import InputError
from stages.core.graph import optimize, read_first_token

LAYERS = 2
TOKENS = 7
WIDTH = 16


def run_model(model: onnx.ModelProto, **inputs: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [node.name for node in session.get_inputs()]
    return session.run(None, {name: inputs[name] for name in names})


def save_classifier(kind: str, directory: Path) -> Path:
    """Export a random classifier; return its ONNX file."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        hidden_dim=2 * WIDTH,
        vocab_size=50,
        pad_token_id=0,
    )
    checkpoint = str(directory / "model")
    AutoModelForSequenceClassification.from_config(config).save_pretrained(checkpoint)
    main_export(checkpoint, directory / "onnx", task="text-classification", do_validation=False)
    return directory / "onnx/model.onnx"


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra", "distilbert"])
def test_the_logits_stay_the_same_wherever_texts_are_padded(kind: str, tmp_path: Path) -> None:
    file = save_classifier(kind, tmp_path)
    ids = np.random.default_rng(0).integers(2, 50, (3, TOKENS))
    ids[1, 4:] = 0
    ids[2, :2] = 0
    inputs = {
        "input_ids": ids,
        "attention_mask": (ids > 0).astype(np.int64),
        "token_type_ids": np.zeros_like(ids),
    }
    (before,) = run_model(onnx.load(file), **inputs)
    assert optimize(file).startswith(f"{LAYERS} attentions fused, 1")
    model = onnx.load(file)
    (after,) = run_model(model, **inputs)
    np.testing.assert_allclose(after, before, atol=1e-5)

    # Of the last layer's feed-forward network, wider than all else, only one token is left.
    inner = [
        node
        for node in model.graph.node
        if node.op_type == "MatMul" and ("intermediate" in node.name or "lin1" in node.name)
    ]
    for node in inner:
        model.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))
    shapes = [array.shape for array in run_model(model, **inputs)[1:]]
    assert shapes == [(3, TOKENS, 2 * WIDTH), (3, 1, 2 * WIDTH)]


GRAPH = """
<ir_version: 8, opset_import: ["" : 17]>
classifier (float[texts, tokens, 2] x) => (float[texts, 2] y)
<float[2, 2] weights = {{1.0, 2.0, 3.0, 4.0}}, int64 index = {{{index}}}>
{{
    mixed = Softmax <axis = 1> (x)
    product = MatMul (mixed, weights)
    bent = Relu (product)
    taken = Gather <axis = 1> (bent, index)
    {head}
}}
"""


@pytest.mark.parametrize(
    ("index", "head", "narrowed"),
    [
        (0, "y = Tanh (taken)", 2),
        (1, "y = Tanh (taken)", 0),
        (0, "mean = ReduceMean <axes = [1], keepdims = 0> (bent) y = Add (taken, mean)", 0),
        (0, "mean = ReduceMean <axes = [1], keepdims = 0> (product) y = Add (taken, mean)", 1),
    ],
    ids=["the first token", "the second token", "all tokens", "all tokens of one operator"],
)
def test_what_other_tokens_are_needed_for_stays(index: int, head: str, narrowed: int) -> None:
    model = onnx.parser.parse_model(GRAPH.format(index=index, head=head))
    x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    (before,) = run_model(model, x=x)
    assert read_first_token(OnnxModel(model)) == narrowed
    onnx.checker.check_model(model)
    (after,) = run_model(model, x=x)
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_a_model_in_two_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx_data").touch()
    with pytest.raises(InputError, match=r"too large to optimize; use export.optimize=false"):
        optimize(tmp_path / "model.onnx")
