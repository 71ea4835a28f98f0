"""OpenVINO: what it quantizes, the logits of what is served, and damaged files."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from stages.core.engines import Inputs, load_engine, openvino
from stages.core.launch.errors import InputError
from stages.core.serving.classifier import encode, load_classifier, load_tokenizer
from stages.core.serving.variant import Variant

FORM = Variant("teacher", "openvino").directory
PRODUCTS = 3 * 4 + 2  # four a layer, pooler and classifier
QUANTIZE = ("quantize", "run.model=teacher", "run.form=openvino")
TEXTS = ["a lovely film", "bad awful poor story and the music was dull", "story", "good " * 50]


def inputs(batch: int) -> Iterator[Inputs]:
    tokenizer = load_tokenizer(FORM)
    for start in range(0, len(TEXTS), batch):
        yield encode(tokenizer, TEXTS[start : start + batch])


def logits(variant: str, batch: int) -> np.ndarray:
    serve = load_classifier(Variant("teacher", variant).directory, threads=1).logits
    return np.concatenate([serve(each) for each in inputs(batch)])


def test_every_product_by_weights_is_an_integer_one(project: Callable) -> None:
    found = re.fullmatch(
        rf"{FORM}, (\d+) integer products, with an error of (.+)%", project(*QUANTIZE)
    )
    assert found
    assert int(found[1]) == PRODUCTS
    assert 0 < float(found[2]) < 20


@pytest.mark.parametrize("batch", [1, len(TEXTS)])
def test_the_logits_are_near_those_of_fp32(project: Callable, batch: int) -> None:
    exact = logits("onnx", batch)
    difference = np.abs(logits("openvino", batch) - exact).max()
    assert 0 < difference < 0.1 * np.abs(exact).max()


def test_an_answer_outlives_the_next_call(project: Callable) -> None:
    classifier = load_classifier(FORM, threads=1)
    assert classifier.threads == 1
    first, second = (classifier.logits(each) for each in [*inputs(1)][:2])
    assert not np.array_equal(first, second)


def test_the_profile_finds_what_the_model_is_made_of(project: Callable) -> None:
    texts = [*inputs(1)]
    operators, ms = load_engine("openvino").profile(FORM, texts, 1)
    kind_of = {name: kind for kind, names in openvino.OPERATORS.items() for name in names}
    kinds = {kind_of.get(name, "overhead") for name, _, _ in operators}
    assert {"embedding", "matrix products", "attention", "normalisation"} <= kinds
    assert {"quantize/dequantize", "addition", "overhead"} <= kinds
    assert 0 < sum(each[2] for each in operators) < ms


def test_excluded_nodes_stay_fp32(project: Callable) -> None:
    for patterns, left in (
        ("['*/layer.0/*','*/classifier/*']", 3 + 1),
        ("['MatMul_*']", 3),  # that of each fused attention
    ):
        said = project(*QUANTIZE, f"quantize.openvino.exclude_nodes={patterns}")
        assert f"{PRODUCTS - left} integer products" in said
    with pytest.raises(InputError, match="exclude_nodes has 'nothing', which matches no node"):
        project(*QUANTIZE, "quantize.openvino.exclude_nodes=[nothing]")


def test_products_that_stay_fp32_fail_the_check(
    project: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (FORM / "model.bin").read_bytes()
    monkeypatch.setattr("nncf.quantize", lambda model, *_, **__: model)
    with pytest.raises(InputError, match=rf"^0 products .*not {PRODUCTS}:"):
        project(*QUANTIZE)
    assert (FORM / "model.bin").read_bytes() == before


def damage(name: str, change: Callable[[bytes], bytes]) -> None:
    (FORM / name).write_bytes(change((FORM / name).read_bytes()))


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
@pytest.mark.parametrize(
    "change",
    [lambda whole: whole[: len(whole) // 2], lambda whole: b"", lambda whole: b"\xff" * 100],
)
def test_a_damaged_file_is_named(project: Callable, name: str, change: Callable) -> None:
    damage(name, change)
    with pytest.raises(InputError, match=rf"{FORM}/model.xml is damaged .*; remove it, then"):
        load_classifier(FORM)


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (rb'offset="\d+"', b'offset="%d"' % 2**62),
        (rb'offset="\d+"', b'offset="-64"'),
        (rb'size="\d+" />', b'size="%d" />' % 2**62),
        (rb'size="\d+" />', b'size="1" />'),
        (rb'type="Const"', b'type="Unheard"'),
    ],
)
def test_weights_at_no_place_are_one_message(
    project: Callable, pattern: bytes, replacement: bytes
) -> None:
    damage("model.xml", lambda whole: re.sub(pattern, replacement, whole, count=1))
    with pytest.raises(InputError, match=r"model.xml is damaged"):
        load_classifier(FORM)


def test_entities_of_the_graph_are_not_resolved(project: Callable, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("input_ids")
    entity = f'<!DOCTYPE net [<!ENTITY name SYSTEM "file://{tmp_path}/secret">]>\n<net '
    damage("model.xml", lambda whole: whole.replace(b"<net ", entity.encode(), 1))
    damage("model.xml", lambda whole: whole.replace(b'names="input_ids"', b'names="&name;"'))
    with pytest.raises((InputError, KeyError), match=r"&name;|is damaged"):
        load_classifier(FORM, 1).logits(next(inputs(1)))


def test_nothing_is_reported_to_anyone() -> None:
    """Apart from pytest, in which nncf itself reports nothing."""
    code = """
from stages.core.engines import load_engine
load_engine("openvino")
import nncf.telemetry, openvino
from openvino.tools.ovc import telemetry
print(type(telemetry).__module__, type(nncf.telemetry.telemetry).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "MagicMock"]
