import json
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from transformers import AutoTokenizer

from stages.core.engines.classifier import classify, encode, load_classifier, load_tokenizer
from stages.core.launch.errors import InputError
from stages.core.launch.paths import VARIANTS, variant_directory

TEXTS = [
    "good film",
    "the plot was very bad and quite dull but the music was lovely " * 5,
    "déjà vu, naïve 😀",
    "A   story\twith\nspaces",
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_texts_are_encoded_as_transformers_does(project: Callable, variant: str) -> None:
    directory = variant_directory(variant)
    theirs = AutoTokenizer.from_pretrained(directory)
    expected = theirs(TEXTS, padding=True, truncation=True, return_tensors="np")
    ours = encode(load_tokenizer(directory), TEXTS)
    assert expected["input_ids"].shape[1] == 32  # model.max_length
    for name in expected:
        np.testing.assert_array_equal(ours[name], expected[name])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_text_gets_a_label(project: Callable, variant: str) -> None:
    directory = variant_directory(variant)
    classifier = load_classifier(directory, threads=1)
    texts = ["good great lovely film", "bad awful poor story"]
    assert classify(classifier, load_tokenizer(directory), texts) == ["positive", "negative"]
    assert (classifier.positions, classifier.threads) == (64, 1)


def test_labels_without_names_are_called_as_in_transformers(project: Callable) -> None:
    file = variant_directory("student_int8") / "config.json"
    config = json.loads(file.read_text())
    del config["id2label"]
    file.write_text(json.dumps(config))
    assert load_classifier(file.parent).labels == ["LABEL_0", "LABEL_1"]


def test_a_runtime_is_imported_only_where_it_is_used(project: Callable) -> None:
    code = """
import sys
from pathlib import Path
from stages.core.engines.classifier import load_classifier, load_tokenizer
for variant in ("teacher/onnx", "student/int8"):
    load_classifier(Path("data/models") / variant), load_tokenizer(Path("data/models") / variant)
print({"torch", "transformers"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("load", [load_classifier, load_tokenizer])
def test_a_variant_that_was_not_made_is_named(empty: Callable, load: Callable) -> None:
    with pytest.raises(InputError, match="no model in data/models/student/int8; make it with"):
        load(variant_directory("student_int8"))


@pytest.mark.parametrize(
    ("variant", "name"),
    [
        ("student_int8", "config.json"),
        ("student_int8", "model.onnx"),
        ("student_int8", "tokenizer.json"),
        ("student_int8", "tokenizer_config.json"),
        ("teacher_pytorch", "model.safetensors"),
    ],
)
def test_a_damaged_file_is_named(project: Callable, variant: str, name: str) -> None:
    directory = variant_directory(variant)
    whole = (directory / name).read_bytes()
    (directory / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=f"{directory}/{name} is damaged .*; remove {directory}"):
        load_classifier(directory)
        load_tokenizer(directory)
