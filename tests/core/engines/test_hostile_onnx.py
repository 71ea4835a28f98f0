"""What ONNX files may read: opening and quantizing files that name other files."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from stages.core.engines import onnxruntime, openvino
from stages.core.engines.onnxruntime import open_session
from stages.core.launch.errors import InputError
from stages.core.serving.variant import Manifest, Variant

SECRET = np.arange(64, dtype=np.float32).reshape(8, 8)


def make_model(file: Path, location: str, offset: str = "0", length: str = "256") -> None:
    """Write a product of x and weights that lie at `location`."""
    weights = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[8, 8], data_location=TensorProto.EXTERNAL
    )
    for key, value in ("location", location), ("offset", offset), ("length", length):
        weights.external_data.add(key=key, value=value)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in "xy")
    product = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    graph = helper.make_graph([product], "graph", [x], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file.write_bytes(model.SerializeToString())


@pytest.fixture
def model(empty: Callable, tmp_path: Path) -> Path:
    """Return where the teacher's ONNX file belongs, with weights beside it and outside."""
    directory = Variant("teacher", "onnx").directory
    directory.mkdir(parents=True)
    Manifest("onnxruntime", "ONNX", 64).write(directory)
    for path in (tmp_path / "secret.bin", directory.parent / "secret.bin", directory / "w.bin"):
        path.write_bytes(SECRET.tobytes())
    (directory / "link.bin").symlink_to(tmp_path / "secret.bin")
    (directory / "up").symlink_to(tmp_path)
    os.mkfifo(directory / "pipe")
    return directory / "model.onnx"


OUTSIDE = ["../secret.bin", "x/../../secret.bin", "link.bin", "up/secret.bin", "/etc/passwd"]
OUTSIDE += ["../" * 30 + "etc/passwd", "{tmp}/secret.bin", "file:///etc/passwd", "gone.bin", ""]
OUTSIDE += ["pipe", "/dev/zero", "x" * 5000]


QUANTIZERS = [
    partial(onnxruntime.quantize, options=onnxruntime.Options(True, [], False, 0)),
    partial(openvino.quantize, options=openvino.Options(1, None, [])),
]


def quantized(model: Path, quantize: Callable = QUANTIZERS[0]) -> Path:
    """Return the INT8 file made of a model."""
    target = model.parent / "int8"
    target.mkdir(exist_ok=True)
    quantize(
        model.parent,
        target,
        sample=lambda *_: [{"x": row} for row in np.eye(8, dtype=np.float32)[:, None]],
    )
    return target / "model.onnx"


def test_weights_beside_the_model_are_read(model: Path) -> None:
    make_model(model, "w.bin")
    (answer,) = open_session(model, 1).run(None, {"x": np.ones((1, 8), np.float32)})
    np.testing.assert_array_equal(answer, SECRET.sum(axis=0, keepdims=True))


@pytest.mark.parametrize("location", OUTSIDE)
def test_weights_anywhere_else_are_refused(model: Path, tmp_path: Path, location: str) -> None:
    make_model(model, location.format(tmp=tmp_path))
    with pytest.raises(InputError, match=r"is damaged .*ONNXRuntimeError"):
        open_session(model, 1)
    for quantize in QUANTIZERS:
        with pytest.raises(
            InputError, match=r"model.onnx is damaged .*; remove .*, then run dvc repro"
        ):
            quantized(model, quantize)
    assert not any((model.parent / "int8").iterdir())


@pytest.mark.parametrize(
    ("offset", "length"),
    [("abc", "256"), ("-1", "256"), (str(2**62), "256"), ("0", "-1"), ("0", str(2**62))],
)
def test_weights_at_no_place_are_one_message(model: Path, offset: str, length: str) -> None:
    make_model(model, "w.bin", offset, length)
    with pytest.raises(InputError, match=r"is damaged"):
        open_session(model, 1)
    for quantize in QUANTIZERS:
        with pytest.raises(InputError, match=r"is damaged"):
            quantized(model, quantize)


@pytest.mark.parametrize("content", [b"\xff" * 100, b"no model at all"])
def test_a_damaged_model_is_one_message(model: Path, content: bytes) -> None:
    model.write_bytes(content)
    for quantize in QUANTIZERS:
        with pytest.raises(InputError, match=r"model.onnx is damaged"):
            quantized(model, quantize)


def test_what_is_quantized_holds_its_weights_itself(model: Path) -> None:
    make_model(model, "w.bin")
    for name in ("link.bin", "up", "pipe"):
        (model.parent / name).unlink()
    tensors = onnx.load(quantized(model), load_external_data=False).graph.initializer
    assert tensors
    assert not any(tensor.external_data for tensor in tensors)
