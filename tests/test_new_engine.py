"""A form of an engine that this project doesn't have, by one module and settings alone."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.conftest import ROOT

ENGINE = '''
"""A classifier that looks up its answer by the length of a text."""

import json
from dataclasses import dataclass

import numpy as np

PACKAGES = ("numpy",)
LIBRARY = "lookup"
EXAMPLE = "print('at most {max_length} tokens')"
KIND_OF = {"lookup": "embedding"}


@dataclass(frozen=True)
class Options:
    entries: int


def load(directory, threads):
    table = np.array(json.loads((directory / "table.json").read_text()))
    return lambda inputs: table[inputs["attention_mask"].sum(axis=1) % len(table)], threads or 1


def profile(directory, inputs, threads):
    return [("lookup", len(inputs), 0.5)], 1.0


def quantize(source, target, options, inputs):
    table = [[index % 2, 0.5] for index in range(options.entries)]
    (target / "table.json").write_text(json.dumps(table))
    return f"{options.entries} entries"
'''
FORM = "table_of_4"
SETTINGS = [
    f"forms=[pytorch,{FORM}]",
    "~quantize.int8",
    f"benchmark.control=student_{FORM}",
    f"+quantize.{FORM}={{engine:lookup,title:Table,entries:4}}",
    "report.sla_percentile=50",
    "benchmark.sweep.lengths=[8]",
    "load.seconds=0.1",
    "load.steps=1",
    "profile.texts=2",
]
ROLES = [(f"run.model={model}", f"run.form={FORM}") for model in ("teacher", "student")]
STEPS = [
    ("machine",),
    *(("quantize", *role) for role in ROLES),
    *(("evaluate", *role) for role in ROLES),
    *(("benchmark",), ("load",), ("profiling",), ("report",)),
    ("release", f"release.variant=student_{FORM}"),
]
DRIVER = """
import json, sys
from tests.conftest import run_stage
for stage, *overrides in json.loads(sys.argv[1]):
    print(run_stage(stage, *overrides), flush=True)
sys.argv = ["predict", "good film"]
from stages.predict import main
main()
"""


@pytest.fixture(scope="module")
def printed(
    finished: Path, tiny: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[str]]:
    """Return what every stage said, and predict, in a project with one more engine."""
    copy = tmp_path_factory.mktemp("engine")
    shutil.copytree(ROOT / "stages", copy / "stages")
    (copy / "stages/core/engines/lookup.py").write_text(ENGINE)
    shutil.copytree(finished, copy / "project", symlinks=True)
    steps = [[stage, *tiny, *SETTINGS, *overrides] for stage, *overrides in STEPS]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(steps)],
        cwd=copy / "project",
        env=os.environ | {"PYTHONPATH": f"{copy}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copy / "project")
        yield done.stdout.splitlines()


def test_its_form_is_quantized_and_predicted_with(printed: list[str]) -> None:
    assert printed[1] == f"data/models/teacher/{FORM}, 4 entries"
    assert printed[-1].split("\t")[0] in ("positive", "negative")


@pytest.mark.parametrize("model", ["teacher", "student"])
def test_its_variants_are_in_every_table(printed: list[str], model: str) -> None:
    variant = f"{model}_{FORM}"
    assert len(pd.read_parquet(f"data/evaluation/{variant}/predictions.parquet"))
    assert set(json.loads(Path(f"reports/evaluation/{variant}.json").read_text())["test"])
    assert variant in pd.read_parquet("data/benchmark/samples.parquet")["variant"].unique()
    assert variant in pd.read_csv("reports/profile.csv")["variant"].unique()
    assert variant in pd.read_csv("reports/results.csv")["variant"].unique()
    assert json.loads(Path("reports/metrics.json").read_text())[variant]["speedup"] > 0


@pytest.mark.parametrize("page", ["reports/results.md", "reports/index.html"])
def test_the_report_calls_them_by_their_title(printed: list[str], page: str) -> None:
    text = Path(page).read_text()
    assert "BERT 3×32, Table" in text
    assert "BERT 2×32, Table" in text


def test_its_model_card_has_the_engines_example(printed: list[str]) -> None:
    _, front, card = Path("data/release/README.md").read_text().split("---", 2)
    assert yaml.safe_load(front)["library_name"] == "lookup"
    assert "print('at most 32 tokens')" in card
