"""Engines, one module each: what loads, profiles and quantizes the variants.

An engine is a module in this folder, imported by its name, with these names:

- `PACKAGES`: the distributions whose versions its figures depend on.
- `OPERATORS`: one of `KINDS` → the names of its operators; any other counts as overhead.
- `load(directory, threads)`: returns a function that computes logits, and its threads.
- `profile(directory, inputs, threads)`: returns its operators, and what the profiled calls took.
- `LIBRARY`, `EXAMPLE`: for the model card, the library's name on a model hub and Python code that
  classifies a text in the released directory; `{max_length}` in it is the token limit,
  `{threads}` how many threads were measured.

One that quantizes has besides:

- `Options`: a dataclass, the schema of `quantize.<form>` (without `engine` and `title`).
- `quantize(source, target, options, sample)`: write the weights of the ONNX directory `source` in
  its own form into `target`, and return a summary.

Heavy libraries are imported where they are used, not at the top: a worker's memory is its variant's
alone.
"""

import time
from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import numpy as np

Inputs = dict[str, np.ndarray]  # by input name, each of shape (texts, tokens)
Logits = Callable[[Inputs], np.ndarray]  # gives shape (texts, classes)
# (split, count) → inputs of one text each: `count` or somewhat more, or all of a small split
Sample = Callable[[str, int], list[Inputs]]
Operators = list[tuple[str, int, float]]  # name, calls, milliseconds in all
# For the examples of engines that transformers doesn't serve: a text's `values`, and the `labels`.
ENCODE = """\
tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.no_padding()
tokenizer.enable_truncation({max_length})
encoding = tokenizer.encode("A lovely film.")
values = {{
    "input_ids": encoding.ids,
    "attention_mask": encoding.attention_mask,
    "token_type_ids": encoding.type_ids,
}}
labels = json.load(open("config.json"))["id2label"]
"""
WARMUP = 5  # untimed calls before a profile
# Kinds of operators, in the order of the figure. Shapes, views, copies and the time between
# operators are overhead.
KINDS = (
    *("tokenizer", "embedding", "matrix products", "quantize/dequantize", "attention"),
    *("normalisation", "activation", "addition", "overhead"),
)


def load_engine(name: str) -> ModuleType:
    """Return the engine's module.

    Raises:
        ValueError: there is none of that name.
    """
    names = [module.name for module in iter_modules(__path__)]
    if name not in names:
        raise ValueError(f"engine = {name!r} is unknown; use one of {', '.join(names)}")
    return import_module(f"{__name__}.{name}")


def operator_name(kind: str, rank: int) -> str:
    """Return an operator's name for a profile, from its kind and the rank of its first input.

    A Gather from a table is an embedding, any other computes shapes; an operator on four dimensions
    (text, head, token, token or feature) belongs to the attention.
    """
    if kind == "Gather" and rank == 2:
        return "Gather of rows"
    return "work on heads" if rank == 4 else kind


def milliseconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - started) / 1e6
