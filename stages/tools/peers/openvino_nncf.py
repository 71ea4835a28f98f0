"""OpenVINO and NNCF's post-training quantization with their defaults, of optimum's graph."""

import logging
from pathlib import Path

import numpy as np

from stages.core.engines import Inputs, Logits, Sample
from stages.core.engines import openvino as ours  # which keeps it from reporting its use
from stages.tools.peers.onnxruntime_dynamic import export

TITLE = "OpenVINO, NNCF INT8"
PACKAGES = ours.PACKAGES
TEXTS = 300  # of the train split, NNCF's own default


def make(checkpoint: Path, target: Path, sample: Sample) -> None:
    """Quantize weights and activations to INT8."""
    import nncf
    import openvino

    nncf.set_log_level(logging.WARNING)
    plain = export(checkpoint, target)
    model = openvino.Core().read_model(plain)
    names = [each.any_name for each in model.inputs]
    texts = [{name: each[name] for name in names} for each in sample("train", TEXTS)]
    quantized = nncf.quantize(
        model, nncf.Dataset(texts), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(texts)
    )
    openvino.save_model(quantized, target / "model.xml")
    plain.unlink()


def load(directory: Path, threads: int) -> tuple[Logits, int]:
    """Return a function that computes logits, and how many threads it uses."""
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_HYPER_THREADING": True,  # or else a thread for each physical core at most
    }
    compiled = openvino.Core().compile_model(directory / "model.xml", "CPU", settings)
    names = [each.any_name for each in compiled.inputs]

    def logits(inputs: Inputs) -> np.ndarray:
        return compiled({name: inputs[name] for name in names})[0]

    return logits, compiled.get_property("INFERENCE_NUM_THREADS")
