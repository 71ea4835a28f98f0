"""An optimized graph gives the same logits, from less work."""

from collections import Counter
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

from stages.core.engines.onnxruntime import SMOOTHED, largest_activations
from stages.core.graph.optimize import optimize, read_first_token
from stages.core.graph.quantization import products_by_weights, smooth

LAYERS = 2
TOKENS = 7
LONGEST = 160  # tokens, from the 128th on of which an MPNet knows no difference
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
        initializer_range=0.5,
    )
    checkpoint = str(directory / "model")
    AutoModelForSequenceClassification.from_config(config).save_pretrained(checkpoint)
    main_export(checkpoint, directory / "onnx", task="text-classification", do_validation=False)
    return directory / "onnx/model.onnx"


@pytest.mark.parametrize(
    ("kind", "fused"),
    [("bert", 2), ("roberta", 2), ("electra", 2), ("distilbert", 2), ("albert", 1), ("mpnet", 2)],
)
def test_the_logits_stay_the_same_wherever_texts_are_padded(
    kind: str, fused: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after smoothing, which what is quantized gets besides."""
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
    (unmasked,) = run_model(onnx.load(file), **inputs | {"attention_mask": np.ones_like(ids)})
    size = file.stat().st_size
    done = optimize(file, LONGEST)
    assert done == f"{fused} attentions fused, 11 operators for the first token alone"
    assert file.stat().st_size < size  # no weights twice, also where layers share them
    model = onnx.load(file)
    (after,) = run_model(model, **inputs)
    np.testing.assert_allclose(after, before, atol=1e-5)
    products = products_by_weights(model.graph, SMOOTHED, set())
    names = sorted({node.input[0] for nodes in products.values() for node in nodes})
    monkeypatch.setattr("stages.core.graph.quantization.OUTLIER", 1)
    smooth(model.graph, products, largest_activations(model, names, [inputs], tmp_path), 0.75)
    (smoothed,) = run_model(model, **inputs)
    np.testing.assert_allclose(smoothed, before, atol=1e-4)
    assert np.abs(unmasked - before)[1:].min() > 1e-3  # so the mask does matter

    # Of the last layer's feed-forward network, wider than all else, only one token is left.
    for node in list(model.graph.node):
        if node.op_type == "MatMul":
            model.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))
    shapes = [array.shape for array in run_model(model, **inputs)]
    inner = [shape for shape in shapes if shape[-1] == 2 * WIDTH]
    assert inner == [(3, TOKENS, 2 * WIDTH), (3, 1, 2 * WIDTH)]


def test_a_bias_by_distance_is_right_at_every_length(tmp_path: Path) -> None:
    file = save_classifier("mpnet", tmp_path)
    plain = onnx.load(file)
    optimize(file, LONGEST)
    model = onnx.load(file)
    for tokens in (1, 2, 33, LONGEST):
        ids = np.random.default_rng(0).integers(2, 50, (2, tokens))
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        (before,), (after,) = (run_model(each, **inputs) for each in (plain, model))
        np.testing.assert_allclose(after, before, atol=1e-5)
    # The layers share it, and nothing is left of how it was computed.
    operators = Counter(node.op_type for node in model.graph.node)
    assert operators["MultiHeadAttention"] == LAYERS
    assert not {"Softmax", "Log", "Range", "Expand"} & operators.keys()


GRAPH = """
<ir_version: 8, opset_import: ["" : 17]>
classifier (float[texts, 2, 2] x) => (float[texts, 2] y{output})
<float[2, 2] weights = {{1.0, 2.0, 3.0, 4.0}}, int64 index = {{0}}, int64 one = {{1}}>
{{
    mixed = Softmax <axis = 1> (x)
    product = MatMul (mixed, weights)
    bent = Relu (product)
    {head}
}}
"""
FIRST = "taken = Gather <axis = 1> (bent, index) "


@pytest.mark.parametrize(
    ("head", "output", "narrowed"),
    [
        (FIRST + "y = Tanh (taken)", "", 2),
        (FIRST + "unused = Exp (taken) y = Tanh (taken)", "", 2),
        ("square = Mul (bent, bent) y = Gather <axis = 1> (square, index)", "", 3),
        ("other = MatMul (bent, mixed) y = Gather <axis = 1> (other, index)", "", 0),
        ("y = Gather <axis = 1> (bent, one)", "", 0),
        ("y = Gather <axis = 2> (bent, index)", "", 0),
        (FIRST + "y = Tanh (taken)", ", float[texts, 2, 2] bent", 0),
        (FIRST + "y = Tanh (taken)", ", float[texts, 2, 2] product", 1),
        (FIRST + "m = ReduceMean <axes = [1], keepdims = 0> (bent) y = Add (taken, m)", "", 0),
        (FIRST + "m = ReduceMean <axes = [1], keepdims = 0> (product) y = Add (taken, m)", "", 1),
    ],
)
def test_what_other_tokens_are_needed_for_stays(head: str, output: str, narrowed: int) -> None:
    model = onnx.parser.parse_model(GRAPH.format(head=head, output=output))
    x = np.random.default_rng(0).normal(size=(3, 2, 2)).astype(np.float32)
    before = run_model(model, x=x)
    assert read_first_token(OnnxModel(model)) == narrowed
    onnx.checker.check_model(model)
    for now, then in zip(run_model(model, x=x), before, strict=True):
        np.testing.assert_allclose(now, then, atol=1e-6)
