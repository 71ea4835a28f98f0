"""Variants, and the engines that serve them: one module per engine.

An engine is a module in this folder, imported by its name, with these names:

- `PACKAGES`: the distributions whose versions its figures depend on.
- `KIND_OF`: operator name → one of `KINDS`; any other operator counts as overhead.
- `load(directory, threads)`: how to get logits from a variant's directory, and the threads used.
- `profile(directory, inputs, threads)`: its operators, and what the profiled calls took.
- `LIBRARY`, `EXAMPLE`: for the model card, the library's name on a model hub and Python code that
  classifies a text in the released directory; `{max_length}` in it is the token limit,
  `{threads}` how many threads were measured.

One that quantizes has besides:

- `Options`: a dataclass, the schema of `quantize.<form>` (without `engine` and `title`).
- `quantize(source, target, options, sample)`: write the weights of the ONNX directory `source` in
  its own form into `target`, and return a summary; `sample(split, count)` gives inputs of texts.

Heavy libraries are imported where they are used, not at the top: a worker's memory is its variant's
alone.
"""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

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
    module = f"{__name__}.{name}"
    if name.isidentifier() and find_spec(module):
        engine = import_module(module)
        if hasattr(engine, "load"):
            return engine
    raise ValueError(f"engine = {name!r} is unknown; use a module of stages/core/engines")
