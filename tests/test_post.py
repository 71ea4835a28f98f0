"""The post's own experiment on a BERT of its shape, with random weights and few texts."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from transformers import AutoTokenizer, BertConfig, BertModel

from tests.conftest import STEPS, run_stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_a_bert_base_goes_all_the_way_as_the_post_did(
    empty: Callable, tiny: list[str], sources: Path
) -> None:
    encoder = Path("bert-base")
    AutoTokenizer.from_pretrained(sources / "encoder").save_pretrained(encoder)
    BertModel(BertConfig()).save_pretrained(encoder)  # 12 layers of 768, 30,522 tokens
    settings = [
        *("+experiment=post", "model=local", f"model.source.path={encoder}"),
        *("data=local", f"data.source.path={sources / 'texts' / 'train.csv'}", "data.max_texts=60"),
        *("finetune.epochs=1", "distill.epochs=1"),
        *(each for each in tiny if each.startswith(("benchmark.", "load.", "profile.", "report."))),
    ]
    for stage, *overrides in STEPS:
        run_stage(stage, *settings, *overrides)
    table = pd.read_csv("reports/results.csv", index_col="variant")
    assert table["parameters"]["teacher_int8"] == pytest.approx(109.5e6, rel=0.01)
    assert table["parameters"]["student_int8"] == pytest.approx(28.8e6, rel=0.01)
    assert table["size_mb"]["teacher_int8"] < 0.3 * table["size_mb"]["teacher_onnx"]
    rows = Path("reports/results.md").read_text().splitlines()
    assert any("BERT 12×768, ONNX INT8" in row and "109M" in row for row in rows)
    assert any("DistilBERT 4×512, ONNX INT8" in row and "28.8M" in row for row in rows)
