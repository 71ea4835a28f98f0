"""Optimize an exported classifier's graph without changing its logits."""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from onnx import NodeProto, helper, numpy_helper
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.onnx_model import OnnxModel
from onnxruntime.transformers.optimizer import optimize_model

from stages.core.graph.biased_attention import fuse_biased_attentions

# Besides products with weights, the operators that process each token independently.
TOKEN_WISE = (
    *("Add", "Clip", "Div", "Erf", "FastGelu", "Gelu", "LayerNormalization", "Mul", "Pow"),
    *("QuickGelu", "Relu", "Sigmoid", "Sqrt", "Sub", "Tanh"),
)
FIRST = "first_token"  # names the constant [0]
INT8_INPUTS = 5  # of an attention: what an integer one reads too


def optimize(file: Path, positions: int) -> str:
    """Fuse a model's operators, and let its last layer work on the first token alone.

    A text classifier's head reads no other token of that layer, so that what follows its attention
    is needed for one. Fused operators (Attention, Gelu) are ONNX Runtime's own.
    `positions` is the longest text that the model reads, in tokens.

    Raises ValueError if the model is in more than one file, or has an attention that can't be INT8.
    """
    if file.with_name(f"{file.name}_data").exists():
        raise ValueError("it is over 2 GB")
    options = FusionOptions("bert")  # whose patterns also match related models
    options.use_raw_attention_mask(True)  # the other kind means padding on the right
    # These are slower than their parts on a CPU, or would hide a sum from an integer product.
    options.enable_skip_layer_norm = False
    options.enable_embed_layer_norm = False
    options.enable_bias_gelu = False
    model = optimize_model(str(file), "bert", opt_level=0, optimization_options=options)
    fused = fuse_biased_attentions(model, positions)
    model.topological_sort()
    attentions = model.get_nodes_by_op_type("Attention")
    for node in attentions:
        if len(node.input) > INT8_INPUTS:
            raise ValueError("an attention adds a bias, which an INT8 one would leave out")
        node.name = f"{node.output[0].rpartition('/')[0]}/{node.name}"  # its layer's, as others'
    narrowed = read_first_token(model)
    model.remove_duplicated_initializer(None)  # of layers that share weights, as ALBERT's do
    model.save_model_to_file(str(file))
    fused += len(attentions)
    return f"{fused} attentions fused, {narrowed} operators for the first token alone"


def read_first_token(model: OnnxModel) -> int:
    """Narrow what only the first token's output needs to that token; return how many operators.

    It goes back through a sorted graph, from where a head takes this token to what mixes tokens: an
    attention. It takes axis 1 for the tokens' throughout; only a comparison of the logits shows
    whether that holds.
    """
    uses = Counter(name for node in model.nodes() for name in node.input)
    uses.update(output.name for output in model.graph().output)
    readers: dict[str, list[NodeProto]] = defaultdict(list)  # of the first token, and no other
    narrowed = 0
    for node in reversed(model.nodes()):
        if _takes_first_token(model, node):
            readers[node.input[0]].append(node)
            continue
        output = node.output[0]
        all_read_first = len(readers.get(output, ())) == uses[output] > 0
        if all_read_first and _is_token_wise(model, node):
            narrowed += 1
            del readers[output]
            for name in node.input:
                if not _is_constant(model, name):
                    readers[name].append(node)
    if narrowed:
        model.add_initializer(numpy_helper.from_array(np.array([0]), FIRST))
        for name, nodes in readers.items():
            first = f"{name}_{FIRST}"
            model.add_node(helper.make_node("Gather", [name, FIRST], [first], first, axis=1))
            for node in nodes:
                model.replace_node_input(node, name, first)
        model.topological_sort()
    return narrowed


def _takes_first_token(model: OnnxModel, node: NodeProto) -> bool:
    if node.op_type != "Gather" or model.get_node_attribute(node, "axis") != 1:
        return False
    index = model.get_constant_value(node.input[1])
    return index is not None and index.ndim == 0 and index == 0


def _is_token_wise(model: OnnxModel, node: NodeProto) -> bool:
    if node.op_type == "MatMul":
        return _is_constant(model, node.input[1])
    return node.op_type in TOKEN_WISE


def _is_constant(model: OnnxModel, name: str) -> bool:
    return model.get_constant_value(name) is not None
