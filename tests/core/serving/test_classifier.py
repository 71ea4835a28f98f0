import json
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from transformers import AutoTokenizer

from stages.core.launch.errors import InputError
from stages.core.serving.classifier import encode, load_classifier, load_tokenizer
from stages.core.serving.variant import MANIFEST, Variant

TEXTS = [
    "good film",
    "the plot was very bad and quite dull but the music was lovely " * 5,
    "déjà vu, naïve 😀",
    "A   story\twith\nspaces",
]


@pytest.mark.parametrize("variant", ["teacher_onnx", "student_int8"])
def test_texts_are_encoded_as_transformers_does(project: Callable, variant: str) -> None:
    directory = Variant.named(variant).directory
    theirs = AutoTokenizer.from_pretrained(directory)
    expected = theirs(TEXTS, padding=True, truncation=True, return_tensors="np")
    ours = encode(load_tokenizer(directory), TEXTS)
    assert expected["input_ids"].shape[1] == 32  # model.max_length
    for name in expected:
        np.testing.assert_array_equal(ours[name], expected[name])


def test_labels_without_names_are_called_as_in_transformers(project: Callable) -> None:
    file = Variant("student", "int8").directory / "config.json"
    config = json.loads(file.read_text())
    del config["id2label"]
    file.write_text(json.dumps(config))
    assert load_classifier(file.parent).labels == ["LABEL_0", "LABEL_1"]


def test_an_engine_imports_its_libraries_alone(project: Callable) -> None:
    code = """
import sys
from pathlib import Path
from stages.core.serving.classifier import load_classifier, load_tokenizer
for variant in ("teacher/onnx", "student/int8"):
    load_classifier(Path("data/models") / variant), load_tokenizer(Path("data/models") / variant)
print({"torch", "transformers"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("load", [load_classifier, load_tokenizer])
def test_a_variant_that_was_not_made_is_named(empty: Callable, load: Callable) -> None:
    with pytest.raises(FileNotFoundError, match="data/models/student/int8/"):
        load(Variant("student", "int8").directory)


@pytest.mark.parametrize(
    ("variant", "name"),
    [
        ("student_int8", "config.json"),
        ("student_int8", MANIFEST),
        ("student_int8", "model.onnx"),
        ("student_int8", "tokenizer.json"),
        ("student_int8", "tokenizer_config.json"),
        ("teacher_pytorch", "model.safetensors"),
    ],
)
def test_a_damaged_file_is_named(project: Callable, variant: str, name: str) -> None:
    directory = Variant.named(variant).directory
    whole = (directory / name).read_bytes()
    (directory / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=f"{directory}/{name} is damaged .*; remove it, then"):
        load_classifier(directory)
        load_tokenizer(directory)


def test_an_unknown_engine_is_named(project: Callable) -> None:
    directory = Variant("student", "int8").directory
    manifest = json.loads((directory / MANIFEST).read_text())
    (directory / MANIFEST).write_text(json.dumps(manifest | {"engine": "variant"}))
    with pytest.raises(InputError, match=rf"{MANIFEST}: engine = 'variant' is unknown"):
        load_classifier(directory)


@pytest.mark.parametrize("side", ["left", "right"])
def test_texts_are_padded_with_the_models_own_token_on_its_own_side(
    project: Callable, side: str
) -> None:
    directory = Variant("student", "onnx").directory
    theirs = AutoTokenizer.from_pretrained(directory, padding_side=side)
    theirs.add_special_tokens({"pad_token": "good"})
    theirs.save_pretrained(directory)
    expected = theirs(TEXTS, padding=True, truncation=True, return_tensors="np")
    ours = encode(load_tokenizer(directory), TEXTS)
    np.testing.assert_array_equal(ours["input_ids"], expected["input_ids"])
    np.testing.assert_array_equal(ours["attention_mask"], expected["attention_mask"])
