"""Engines that a user could install instead: one module each (`make peers`).

A peer is a module in this folder, in `PEERS`, with these names:

- `TITLE`: its name for people.
- `PACKAGES`: the distributions that it needs, and whose versions its figures depend on.
- `make(checkpoint, target, sample)`: write the model of a transformers checkpoint in its own form
  into `target`, where the tokenizer and config.json are; `sample(split, count)` gives inputs of
  texts. It raises `UnsupportedError` where that is impossible.
- `load(directory, threads)`: returns a function that computes logits, and its threads.
"""

PEERS = (
    "onnxruntime_dynamic",
    "openvino_nncf",
    "torch_compile",
    "torchao_int8",
    "ctranslate2_int8",
    "llama_cpp_q8",
)


class UnsupportedError(Exception):
    """The engine can't run this model here; the message is the reason."""
