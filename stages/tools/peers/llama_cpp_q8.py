"""llama.cpp with Q8_0 weights.

Its converter is not in its package, so that the file is written here, from the library's own names
of BERT's tensors. Token ids come from our tokenizer: the file has no vocabulary.
"""

import logging
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from stages.core.engines import Logits, Sample
from stages.core.launch.errors import read_json
from stages.tools.peers import UnsupportedError
from stages.tools.peers.heads import model_type, with_head, write_head

TITLE = "llama.cpp, GGUF Q8_0"
PACKAGES = ("llama-cpp-python", "gguf")
PREFIXES = {"bert": "bert.", "distilbert": "distilbert."}


def make(checkpoint: Path, target: Path, sample: Sample) -> None:
    """Write the encoder as GGUF; the head stays as it is."""
    kind = model_type(checkpoint)
    if kind not in PREFIXES:
        raise UnsupportedError(f"{Path(__file__).name} writes no {kind}")
    import gguf
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(checkpoint)
    layers, width = config.num_hidden_layers, config.hidden_size
    write_head(checkpoint, target)
    writer = gguf.GGUFWriter(target / "encoder.gguf", "bert")
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("none")
    writer.add_token_type_count(getattr(config, "type_vocab_size", 1))
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(getattr(config, "intermediate_size", 0) or config.hidden_dim)
    writer.add_block_count(layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_layer_norm_eps(getattr(config, "layer_norm_eps", 1e-12))
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.CLS)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, layers)
    for name, tensor in load_file(checkpoint / "model.safetensors").items():
        known = names.get_name(name.removeprefix(PREFIXES[kind]), (".weight", ".bias"))
        if known is None or name.startswith(("bert.pooler", "classifier", "pre_classifier")):
            continue
        product = tensor.ndim == 2 and known.startswith("blk.")
        types = gguf.GGMLQuantizationType
        data = gguf.quantize(tensor, types.Q8_0) if product else tensor
        writer.add_tensor(known, data, raw_dtype=types.Q8_0 if product else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def load(directory: Path, threads: int) -> tuple[Logits, int]:
    """Return a function that computes logits, and how many threads it uses."""
    import llama_cpp

    logging.getLogger("llama-cpp-python").setLevel(logging.ERROR)  # or else each tensor has a line
    options = llama_cpp.llama_context_default_params()
    options.n_threads = options.n_threads_batch = threads
    options.embeddings = True
    limit = read_json(directory / "config.json")["max_position_embeddings"]
    options.n_ctx = options.n_batch = options.n_ubatch = limit
    model = llama_cpp.llama_model_load_from_file(
        str(directory / "encoder.gguf").encode(), llama_cpp.llama_model_default_params()
    )
    context = llama_cpp.llama_init_from_model(model, options)
    if not context:
        raise RuntimeError(f"llama.cpp can't load {directory}; it says why above")
    width = llama_cpp.llama_model_n_embd(model)
    batch = llama_cpp.llama_batch_init(limit, 0, 1)

    def first_token(ids: list[int]) -> np.ndarray:
        batch.n_tokens = len(ids)
        for position, token in enumerate(ids):
            batch.token[position], batch.pos[position] = token, position
            batch.n_seq_id[position], batch.seq_id[position][0] = 1, 0
            batch.logits[position] = True
        if status := llama_cpp.llama_encode(context, batch):
            raise RuntimeError(f"llama_encode returned {status} for {len(ids)} tokens")
        values = llama_cpp.llama_get_embeddings_seq(context, 0)
        return np.ctypeslib.as_array(values, (width,)).copy()  # the next call overwrites it

    def encode(ids: list[list[int]]) -> np.ndarray:
        return np.stack([first_token(each) for each in ids])

    return with_head(directory, encode), threads
