"""The real DAG on the shrunken experiment, in a fresh clone."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from stages.core.serving.variant import ROLES, variants
from tests.clone import Clone

FORMS = ["pytorch", "onnx", "int8", "int8_per_tensor"]  # two quantized ones, in one run
SMOKE = (
    *("-S", "+experiment=smoke"),
    *("-S", "quantize=[int8,int8_per_tensor]", "-S", f"forms=[{','.join(FORMS)}]"),
)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ALL_STAGES = {
    *("machine", "fetch@encoder", "fetch@corpus", "prepare"),
    *("finetune", "augment", "label", "distill"),
    *(f"export@{model}" for model in ROLES),
    *(f"quantize@{each.model}-{each.form}" for each in variants(FORMS[2:])),
    *(f"evaluate@{each.model}-{each.form}" for each in variants(FORMS)),
    *("benchmark", "load", "profile", "report", "release"),
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Return a clone in which the whole shrunken experiment has run once."""
    clone = Clone(tmp_path_factory.mktemp("clone") / "project")
    assert clone.dvc("exp", "run", *SMOKE) == ALL_STAGES
    return clone


def test_every_output_is_there(clone: Clone) -> None:
    lock = yaml.safe_load((clone.directory / "dvc.lock").read_text())["stages"]
    # The committed lock keeps the stages of a form that this run lacks.
    others = {f"{stage}@{model}-openvino" for stage in ("quantize", "evaluate") for model in ROLES}
    assert set(lock) == ALL_STAGES | others
    outputs = [out["path"] for name in ALL_STAGES for out in lock[name]["outs"]]
    assert [path for path in outputs if not (clone.directory / path).exists()] == []


def test_the_table_has_every_variant(clone: Clone) -> None:
    table = pd.read_csv(clone.directory / "reports" / "results.csv", index_col="variant")
    assert list(table.index) == [variant.name for variant in variants(FORMS)]
    assert table["accuracy"].between(0.3, 1).all()
    assert table["parameters"]["student_int8"] < table["parameters"]["teacher_pytorch"]
    page = (clone.directory / "reports" / "results.md").read_text()
    assert "BERT-base (post)" in page
    assert "BERT 6×384, PyTorch" in page
    assert "BERT 2×384, ONNX INT8 per tensor" in page


def test_no_stage_leaves_anything_but_its_outputs(clone: Clone) -> None:
    lock = yaml.safe_load((clone.directory / "dvc.lock").read_text())["stages"]
    outputs = [clone.directory / out["path"] for stage in lock.values() for out in stage["outs"]]
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=clone.directory, capture_output=True, text=True, check=True
    )
    known = {clone.directory / line for line in tracked.stdout.splitlines()}
    strays = [
        path
        for path in clone.directory.rglob("*")
        if path.is_file()
        and not {".git", ".dvc", "__pycache__"} & set(path.parts)
        and path not in known
        and not any(path == out or path.is_relative_to(out) for out in outputs)
    ]
    assert strays == []


def test_nothing_to_do_runs_the_always_changed_stage_alone(clone: Clone) -> None:
    assert clone.dvc("repro") == {"machine"}


def test_what_was_pushed_is_pulled_and_not_made_again(clone: Clone, tmp_path: Path) -> None:
    remote = ("remote", "add", "--local", "--default", "store", str(tmp_path / "store"))
    clone.dvc(*remote)
    clone.dvc("push")
    clone.commit("The shrunken experiment")
    other = Clone(tmp_path / "other", clone.directory)
    other.dvc(*remote)
    other.dvc("pull")
    assert other.dvc("repro") == {"machine"}
    printed = other.run(sys.executable, "stages/predict.py", "A lovely film.")
    assert printed.split("\t")[0] in ("positive", "negative")
    other.dvc("get", str(clone.directory), "data/release", "--out", str(tmp_path / "release"))
    assert (tmp_path / "release" / "README.md").exists()
