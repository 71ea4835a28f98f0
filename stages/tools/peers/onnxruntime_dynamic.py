"""ONNX Runtime's dynamic quantization with its defaults, of optimum's graph: the post's own way."""

from pathlib import Path

from stages.core.engines import Logits, Sample
from stages.core.engines.onnxruntime import logits_by

TITLE = "ONNX Runtime, quantize_dynamic"
PACKAGES = ("onnxruntime", "optimum-onnx")


def export(checkpoint: Path, target: Path) -> Path:
    """Write optimum's graph of a checkpoint; return its file."""
    from optimum.exporters.onnx import main_export

    main_export(str(checkpoint), target, task="text-classification", do_validation=False)
    return target / "model.onnx"


def make(checkpoint: Path, target: Path, sample: Sample) -> None:
    """Quantize weights to INT8."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    plain = export(checkpoint, target)
    quantize_dynamic(plain, target / "quantized.onnx", weight_type=QuantType.QInt8)
    plain.unlink()


def load(directory: Path, threads: int) -> tuple[Logits, int]:
    """Return a function that computes logits, and how many threads it uses."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(directory / "quantized.onnx", options)
    return logits_by(session), session.get_session_options().intra_op_num_threads
