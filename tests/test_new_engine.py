"""An engine that this project doesn't have: one module and settings are all it takes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.conftest import ROOT, Make

ENGINE = '''
"""A classifier that looks up its answer by the length of a text."""

import json
from dataclasses import dataclass

import numpy as np

PACKAGES = ("numpy",)
LIBRARY = "lookup"
EXAMPLE = "print('at most {max_length} tokens')"
OPERATORS = {"embedding": ("lookup",)}


@dataclass(frozen=True)
class Options:
    entries: int


def load(directory, threads):
    table = np.array(json.loads((directory / "table.json").read_text()))
    return lambda inputs: table[inputs["attention_mask"].sum(axis=1) % len(table)], threads or 1


def profile(directory, inputs, threads):
    return [("lookup", len(inputs), 0.5)], 1.0


def quantize(source, target, options, sample):
    table = [[index % 2, 0.5] for index in range(options.entries)]
    (target / "table.json").write_text(json.dumps(table))
    return f"{options.entries} entries"
'''
FORM = "table_of_4"
SETTINGS = (
    "+quantize.table_of_4={engine:lookup,title:Table,entries:4}",
    *("quantize=[]", f"forms=[pytorch,{FORM}]", f"benchmark.control=student_{FORM}"),
    *("report.sla_percentile=50", "benchmark.sweep.lengths=[8]", "profile.texts=2"),
    "load.seconds=0.1",
)
ROLES = ("teacher", "student")
EACH = [(f"run.model={model}", f"run.form={FORM}") for model in ROLES]
STEPS = [
    *(("machine",), *(("quantize", *each) for each in EACH)),
    *(("evaluate", *each) for each in EACH),
    *(("benchmark",), ("load",), ("profiling",), ("report",)),
]

DRIVER = """
import json, sys
from tests.conftest import run_stage
from stages.predict import main
steps, settings = map(json.loads, sys.argv[1:])
sys.argv = ["predict", "good film"]
for stage, *overrides in steps:
    print(run_stage(stage, *settings, *overrides), flush=True)
run_stage("release", *settings, "release.variant=student_table_of_4")
main()
"""


@pytest.fixture(scope="module")
def printed(
    finished: Path, tiny: list[str], shared: Callable[[str, Make], Path]
) -> Iterator[list[str]]:
    """Return what every stage said, and predict, in a project with one more engine."""

    def make(directory: Path) -> None:
        shutil.copytree(ROOT / "stages", directory / "stages")
        (directory / "stages/core/engines/lookup.py").write_text(ENGINE)
        shutil.copytree(finished, directory / "project", symlinks=True)
        without = [each for each in tiny if "openvino" not in each]
        arguments = (json.dumps(each) for each in (STEPS, [*without, *SETTINGS]))
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, *arguments],
            cwd=directory / "project",
            env=os.environ | {"PYTHONPATH": f"{directory}{os.pathsep}{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        (directory / "printed.txt").write_text(done.stdout)

    made = shared("engines", make)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made / "project")
        text = (made / "printed.txt").read_text()
        yield [line for line in text.splitlines() if line.strip()]


def test_its_form_is_quantized_and_predicted_with(printed: list[str]) -> None:
    assert any(line.startswith(f"data/models/teacher/{FORM}, 4 entries") for line in printed)
    assert printed[-1].split("\t")[0] in ("positive", "negative")


@pytest.mark.parametrize("model", ROLES)
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
