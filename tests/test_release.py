import re
import subprocess
import sys
from collections.abc import Callable

import pandas as pd
import pytest
from huggingface_hub import ModelCard
from transformers import AutoConfig, pipeline

from stages.core.launch.paths import RELEASE, variant_directory


def card() -> ModelCard:
    return ModelCard.load(RELEASE / "README.md")


def test_the_release_is_the_variant_and_its_card(project: Callable) -> None:
    source = variant_directory("student_int8")
    files = {path.name: path.read_bytes() for path in source.iterdir()}
    released = {path.name: path.read_bytes() for path in RELEASE.iterdir()}
    assert {name for name in released if name not in files} == {"README.md"}
    assert all(released[name] == data for name, data in files.items())


def test_the_card_tells_what_the_report_measured(project: Callable) -> None:
    row = pd.read_csv("reports/results.csv", index_col="variant").loc["student_int8"]
    data = card().data
    assert {result.metric_type: result.metric_value for result in data.eval_results} == {
        "accuracy": row["accuracy"],
        "f1": row["macro_f1"],
    }
    assert f"| Test accuracy | {row['accuracy']:.1%} |" in card().text
    assert f"{row['test_label_mean_ms']:.2f} ms |" in card().text


def test_the_card_tells_the_licences_that_the_config_names(project: Callable) -> None:
    settings = ("model.license=apache-2.0", "data.license=cc-by-4.0", "data.title=Some reviews")
    project("release", *settings)
    assert card().data.license == "apache-2.0"
    assert "a local encoder: apache-2.0. The texts, Some reviews: cc-by-4.0." in card().text


def test_the_example_of_the_card_classifies(project: Callable) -> None:
    example = re.findall(r"```python\n(.*?)```", card().text, re.DOTALL)[0]
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=RELEASE, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() in AutoConfig.from_pretrained(RELEASE).id2label.values(), done.stderr


def test_any_variant_can_be_released(project: Callable) -> None:
    said = project("release", "release.model=teacher", "release.form=pytorch")
    assert "teacher pytorch" in said
    assert not (RELEASE / "model.onnx").exists()
    assert card().data.library_name == "transformers"
    assert pipeline("text-classification", str(RELEASE))("good")[0]["score"] == pytest.approx(1, 1)
