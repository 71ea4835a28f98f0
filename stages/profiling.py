"""Find out where the time of a call goes: operator by operator, for every variant.

Each variant is profiled in a process of its own, by its runtime's own profiler, which slows it
down: the shares are what this is about; latencies are the benchmark's.
"""

import json
import tempfile
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass
from tqdm import tqdm

from stages.core.engines.classifier import (
    Inputs,
    encode,
    load_classifier,
    load_tokenizer,
    open_session,
)
from stages.core.launch.atomic import atomic_file
from stages.core.launch.command import launch
from stages.core.launch.errors import InputError
from stages.core.launch.parse import STRICT
from stages.core.launch.paths import REPORTS, VARIANTS, variant_directory
from stages.core.launch.settings import ProfileConfig, Seed
from stages.core.measuring.conditions import Clocks, conditions
from stages.core.measuring.worker import milliseconds
from stages.core.reporting.results import BEST, bottleneck
from stages.core.text.corpus import draw_texts, load_corpus

WARMUP = 5
# The kinds, in the figure's order, and the operators of PyTorch and ONNX Runtime in each.
# What no kind names is overhead: shapes, views and copies, and the time between operators.
KINDS = {
    "tokenizer": ("encode",),
    "embedding": ("aten::embedding", "aten::index_select", "Gather of rows"),
    "matrix products": (
        *("aten::addmm", "aten::mm", "aten::bmm", "aten::baddbmm", "MatMul", "Gemm", "FusedMatMul"),
        *("FusedGemm", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"),
    ),
    "quantize/dequantize": ("DynamicQuantizeLinear", "QuantizeLinear", "DequantizeLinear"),
    "attention": (
        *("aten::_scaled_dot_product_flash_attention_for_cpu", "aten::_softmax", "Softmax"),
        # A fused one holds the products that make its queries, keys and values.
        *("Attention", "QAttention", "MultiHeadAttention", "work on heads"),
    ),
    "normalisation": ("aten::native_layer_norm", "LayerNormalization"),
    "activation": (
        *("aten::gelu", "aten::tanh", "aten::relu", "Gelu", "BiasGelu", "FastGelu", "QuickGelu"),
        *("Erf", "Tanh", "Relu"),
    ),
    "addition": ("aten::add", "aten::add_", "Add"),
    "overhead": (),
}
Operators = list[tuple[str, int, float]]  # name, calls, milliseconds in all
Logits = Callable[[Inputs], np.ndarray]
KIND = {operator: kind for kind, operators in KINDS.items() for operator in operators}


@dataclass(config=STRICT)
class Config:
    """Settings of this stage."""

    profile: ProfileConfig
    seed: Seed


def run(config: Config) -> str:
    """Write reports/profile.csv, a row an operator of a variant."""
    random = np.random.default_rng(config.seed)
    texts = draw_texts(load_corpus()["test"]["text"][:], config.profile.texts, random)
    tables = []
    before = Clocks.read([])
    context = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        for variant in tqdm(VARIANTS, desc="profile", unit="variant", disable=None):
            directory = variant_directory(variant)
            task = pool.submit(profile_variant, directory, texts, config.profile.threads)
            tables.append(task.result().assign(variant=variant))
    profile = pd.concat(tables, ignore_index=True)
    found = conditions(before, Clocks.read([]))
    profile = profile.sort_values(
        "kind", kind="stable", key=lambda kinds: kinds.map(list(KINDS).index)
    )
    profile["others_share"] = found["others_share"]
    columns = ["variant", "kind", "operator", "calls", "ms", "slowdown", "others_share"]
    with atomic_file(REPORTS / "profile.csv") as part:
        profile[columns].round(5).to_csv(part, index=False)
    return f"{REPORTS / 'profile.csv'}: {bottleneck(profile, BEST)}"


def profile_variant(directory: Path, texts: list[str], threads: int) -> pd.DataFrame:
    """Return a row an operator: operator, kind, calls and ms a text, and slowdown.

    The slowdown is how many times longer calls take under the profiler, which inflates operators:
    together they are scaled down to what a call takes without it, and what they leave of that is
    the time between operators.
    """
    tokenizer = load_tokenizer(directory)
    inputs = [encode(tokenizer, [text]) for text in texts]
    encoding_ms = milliseconds(lambda: [encode(tokenizer, [text]) for text in texts])
    logits = load_classifier(directory, threads).logits
    plain_ms = time_calls(logits, inputs)
    if (directory / "model.onnx").exists():
        operators, profiled_ms = profile_onnx(directory / "model.onnx", inputs, threads)
    else:
        operators, profiled_ms = profile_pytorch(logits, inputs)
    table = pd.DataFrame(operators, columns=["operator", "calls", "ms"])
    table["ms"] *= min(1.0, plain_ms / table["ms"].sum())
    table.loc[len(table)] = ["between operators", len(texts), plain_ms - table["ms"].sum()]
    table.loc[len(table)] = ["encode", len(texts), encoding_ms]
    table[["calls", "ms"]] /= len(texts)
    kinds = table["operator"].map(KIND).fillna("overhead")
    return table.assign(kind=kinds, slowdown=profiled_ms / plain_ms)


def time_calls(logits: Logits, inputs: list[Inputs]) -> float:
    """Return the milliseconds that all calls take, after some to warm up."""
    for encoded in inputs[:WARMUP]:
        logits(encoded)
    return milliseconds(lambda: [logits(encoded) for encoded in inputs])


def profile_pytorch(logits: Logits, inputs: list[Inputs]) -> tuple[Operators, float]:
    """Return PyTorch's operators, by the time in themselves, and the milliseconds of all calls."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    with profiler(activities=[ProfilerActivity.CPU]) as recorded:
        profiled_ms = milliseconds(lambda: [logits(encoded) for encoded in inputs])
    return [
        (event.key, event.count, event.self_cpu_time_total / 1e3)
        for event in recorded.key_averages()
    ], profiled_ms


def profile_onnx(model: Path, inputs: list[Inputs], threads: int) -> tuple[Operators, float]:
    """Return ONNX Runtime's operators and the milliseconds of all calls.

    A Gather from a table is an embedding, any other is about shapes; what works on four dimensions
    (text, head, token, token or feature) belongs to the attention.
    """
    with tempfile.TemporaryDirectory() as scratch:
        session = open_session(model, threads, Path(scratch) / "profile")
        names = [node.name for node in session.get_inputs()]
        for encoded in [*inputs[:WARMUP], *inputs]:
            session.run(None, {name: encoded[name] for name in names})
        events = json.loads(Path(session.end_profiling()).read_text())
    runs = [event for event in events if event["name"] == "model_run"]
    if len(runs) < len(inputs[:WARMUP]) + len(inputs):  # it keeps a million events
        raise InputError(
            f"profile.texts = {len(inputs)}, of which ONNX Runtime recorded {len(runs)}; use fewer"
        )
    runs = runs[-len(inputs) :]
    operators: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event["cat"] == "Node" and event["ts"] >= runs[0]["ts"]:
            operators[_operator(event["args"])].append(event["dur"] / 1e3)
    rows = [(name, len(taken), sum(taken)) for name, taken in operators.items()]
    return rows, sum(run["dur"] for run in runs) / 1e3


def _operator(node: dict) -> str:
    operator, types = node["op_name"], node["input_type_shape"]
    shape = next(iter(types[0].values())) if types else []
    if operator == "Gather" and len(shape) == 2:
        return "Gather of rows"
    return "work on heads" if len(shape) == 4 else operator


if __name__ == "__main__":
    launch(run, Config, alone=True)
