"""Fusing attentions that add a bias to their scores, such as MPNet's by relative position.

ONNX Runtime's own patterns leave them as they are, operator by operator.
"""

from dataclasses import dataclass

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.transformers.onnx_model import OnnxModel

DOMAIN = "com.microsoft"


@dataclass(frozen=True)
class _Attention:
    products: list[NodeProto]  # with the weights of queries, keys and values
    sums: list[NodeProto]  # of these and their biases
    scale: float  # what scores are divided by: the root of a head's width
    bias: str  # of the scores, shape (1, heads, tokens, tokens)
    mask: str  # added to the scores, shape (texts, 1, 1, tokens)
    last: NodeProto  # whose output is the attention's


def fuse_biased_attentions(model: OnnxModel, positions: int) -> int:
    """Fuse every self-attention with a bias into one operator; return how many.

    All layers share the sum of bias and mask. The products that make queries, keys and values
    become one. `positions` is the longest text that the model reads, in tokens.
    """
    makers, users = model.output_name_to_node(), model.input_name_to_nodes()
    found = [
        attention
        for softmax in model.get_nodes_by_op_type("Softmax")
        if (attention := _match(model, softmax, makers, users))
    ]
    shared: dict[tuple[str, str], str] = {}
    for number, each in enumerate(found):
        if (each.bias, each.mask) not in shared:
            bias = _by_length(model, each.bias, positions, makers) or each.bias
            total = f"{each.bias}_and_mask"
            model.add_node(helper.make_node("Add", [bias, each.mask], [total], total))
            shared[each.bias, each.mask] = total
        _fuse(model, each, shared[each.bias, each.mask], f"attention_{number}")
    if found:
        model.prune_graph()
    return len(found)


def _match(
    model: OnnxModel,
    softmax: NodeProto,
    makers: dict[str, NodeProto],
    users: dict[str, list[NodeProto]],
) -> _Attention | None:
    path = ["Add", "Add", "Div", "MatMul"]
    scores = model.match_parent_path(softmax, path, [0, 0, 0, 0], makers)
    weighted = users[softmax.output[0]][0]
    if scores is None or weighted.op_type != "MatMul":
        return None
    masked, biased, scaled, product = scores
    path = ["Transpose", "Reshape", "Add", "MatMul"]
    made = [
        model.match_parent_path(node, path, [place, 0, 0, None], makers)
        for node, place in ((product, 0), (product, 1), (weighted, 1))
    ]
    transposed = users[weighted.output[0]][0]
    last = [node for node in users[transposed.output[0]] if node.op_type == "Reshape"]
    scale = model.get_constant_value(scaled.input[1])
    if None in made or len(last) != 1 or scale is None:
        return None
    sums, products = [nodes[2] for nodes in made], [nodes[3] for nodes in made]
    if len({node.input[0] for node in products}) > 1:
        return None
    expanded = makers[biased.input[1]]
    bias = expanded.input[0] if expanded.op_type == "Expand" else biased.input[1]
    return _Attention(products, sums, float(scale), bias, masked.input[1], last[0])


def _fuse(model: OnnxModel, attention: _Attention, bias: str, name: str) -> None:
    weights = [model.get_constant_value(node.input[1]) for node in attention.products]
    constants = [
        next(value for name in node.input if (value := model.get_constant_value(name)) is not None)
        for node in attention.sums
    ]
    name = f"{attention.products[0].name.rpartition('/')[0].rpartition('/')[0]}/{name}"
    for part, values in ("weights", weights), ("bias", constants):
        array = np.concatenate(values, axis=-1)
        model.add_initializer(numpy_helper.from_array(array, f"{name}_{part}"))
    product, total = f"{name}_product", f"{name}_sum"
    parts = [f"{name}_{part}" for part in ("queries", "keys", "values")]
    inputs = [attention.products[0].input[0], f"{name}_weights"]
    for node in (
        helper.make_node("MatMul", inputs, [product], f"{name}/MatMul"),
        helper.make_node("Add", [product, f"{name}_bias"], [total], f"{name}/Add"),
        helper.make_node("Split", [total], parts, f"{name}/Split", axis=2, num_outputs=3),
        helper.make_node(
            "MultiHeadAttention",
            [*parts, "", "", bias],
            [attention.last.output[0]],
            f"{name}/MultiHeadAttention",
            domain=DOMAIN,
            num_heads=round(len(constants[0]) / attention.scale**2),
        ),
    ):
        model.add_node(node)
    model.remove_node(attention.last)


def _by_length(
    model: OnnxModel, bias: str, positions: int, makers: dict[str, NodeProto]
) -> str | None:
    """Return a tensor equal to a bias that only the text's length decides, read from a table.

    It is None unless the bias of two tokens depends on their distance alone.
    """
    if not _is_of_length(model, bias, makers):
        return None
    full = _value(model.model, bias, positions)[0]  # (heads, positions, positions)
    if not np.array_equal(full[:, 1:, 1:], full[:, :-1, :-1]):
        return None
    # By distance, from the last token's to the first one to the first one's to the last.
    table = np.concatenate([full[:, :0:-1, 0], full[:, 0]], axis=1)
    places = np.arange(positions)
    for name, array in (
        ("table", table),
        ("columns", places + positions - 1),
        ("rows", places[:, None]),
        ("zero", np.array([0])),
    ):
        model.add_initializer(numpy_helper.from_array(array, f"{bias}_{name}"))
    tokens = [f"{bias}_zero", f"{bias}_tokens", f"{bias}_zero"]
    for node in (
        helper.make_node("Shape", ["input_ids"], [f"{bias}_tokens"], start=1, end=2),
        helper.make_node("Slice", [f"{bias}_columns", *tokens], [f"{bias}_to"]),
        helper.make_node("Slice", [f"{bias}_rows", *tokens], [f"{bias}_from"]),
        helper.make_node("Sub", [f"{bias}_to", f"{bias}_from"], [f"{bias}_distance"]),
        helper.make_node(
            "Gather", [f"{bias}_table", f"{bias}_distance"], [f"{bias}_by_length"], axis=1
        ),
    ):
        node.name = node.output[0]
        model.add_node(node)
    return f"{bias}_by_length"


def _is_of_length(model: OnnxModel, name: str, makers: dict[str, NodeProto]) -> bool:
    """Return whether a value depends only on constants and the input's shape."""
    if not name or model.get_constant_value(name) is not None:
        return True
    node = makers.get(name)
    return node is not None and (
        node.op_type == "Shape" or all(_is_of_length(model, each, makers) for each in node.input)
    )


def _value(model: ModelProto, name: str, tokens: int) -> np.ndarray:
    """Return a tensor of a graph for any text of so many tokens."""
    whole = ModelProto()
    whole.CopyFrom(model)
    whole.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # by default, as many as the host has cores
    session = onnxruntime.InferenceSession(whole.SerializeToString(), options)
    ones = np.ones((1, tokens), dtype=np.int64)
    return session.run([name], {node.name: ones for node in session.get_inputs()})[0]
