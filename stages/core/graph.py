"""Making the graph of an exported classifier faster, its logits the same."""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from onnx import NodeProto, helper, numpy_helper
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.onnx_model import OnnxModel
from onnxruntime.transformers.optimizer import optimize_model

from stages.core.errors import InputError

# What treats every token alike, and apart from the others: of MatMul, that with a constant.
TOKEN_WISE = (
    *("Add", "Div", "Mul", "Pow", "Sqrt", "Sub"),
    *("Erf", "FastGelu", "Gelu", "LayerNormalization", "MatMul", "Relu", "Sigmoid", "Tanh"),
)
FIRST = "first_token"  # names the constant [0]


def optimize(file: Path) -> str:
    """Fuse a model's attentions, and let its last layer work on the first token alone.

    A text classifier's head reads no other token of that layer, so that what follows its attention
    is needed for one. The fused operators are ONNX Runtime's own.

    Returns:
        What was found to optimize, in words.

    Raises:
        InputError: the model is too large for one file.
    """
    if file.with_name(f"{file.name}_data").exists():
        raise InputError(f"{file} is over 2 GB, too large to optimize; use export.optimize=false")
    options = FusionOptions("bert")  # whose patterns are those of its kin, too
    options.use_raw_attention_mask(True)  # the other kind means padding on the right
    # These are slower than their parts on a CPU, or would hide a sum from an integer product.
    options.enable_skip_layer_norm = False
    options.enable_embed_layer_norm = False
    options.enable_bias_gelu = False
    model = optimize_model(str(file), "bert", opt_level=0, optimization_options=options)
    model.topological_sort()
    attentions = model.get_nodes_by_op_type("Attention")
    for node in attentions:  # after its layer, as the others are
        node.name = f"{node.output[0].rpartition('/')[0]}/{node.name}"
    narrowed = read_first_token(model)
    model.save_model_to_file(str(file))
    return f"{len(attentions)} attentions fused, {narrowed} operators for the first token alone"


def read_first_token(model: OnnxModel) -> int:
    """Narrow what only serves the first token of a sorted graph to that token; return how much.

    Goes back from where a head takes this token to what mixes tokens: an attention.
    """
    uses = Counter(name for node in model.nodes() for name in node.input)
    uses.update(output.name for output in model.graph().output)
    readers: dict[str, list[NodeProto]] = defaultdict(list)  # of no more than the first token
    narrowed = 0
    for node in reversed(model.nodes()):
        output = node.output[0]
        if _takes_first_token(model, node):
            readers[node.input[0]].append(node)
        elif _token_wise(model, node) and 0 < uses[output] == len(readers.get(output, ())):
            narrowed += 1
            del readers[output]
            for name in node.input:
                if model.get_constant_value(name) is None:
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


def _token_wise(model: OnnxModel, node: NodeProto) -> bool:
    product = node.op_type == "MatMul"
    return node.op_type in TOKEN_WISE and (
        not product or model.get_constant_value(node.input[1]) is not None
    )
