"""Training in two processes: its results are those of one, and what ends one ends all."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from safetensors.numpy import load_file

from stages.core.launch.paths import CHECKPOINTS, CORPUS, ENCODER, LABELLED
from stages.core.serving.variant import Variant
from stages.core.text.corpus import load_corpus, load_texts

TEACHER = Variant("teacher", "pytorch").directory
STUDENT = Variant("student", "pytorch").directory
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def start(project: Callable, tiny: list[str], sources: Path) -> Callable[..., subprocess.Popen]:
    """Return what starts a stage in two processes, in a copy of the finished experiment."""

    def started(stage: str, *overrides: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", f"stages.{stage}", *tiny, "processes=2", *overrides],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return started


def finish(process: subprocess.Popen[str]) -> str:
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    return printed


def assert_alike(model: Path, before: dict[str, np.ndarray], curve: pd.DataFrame) -> None:
    name = "finetune" if model == TEACHER else "distill"
    pd.testing.assert_frame_equal(pd.read_csv(f"reports/{name}.csv"), curve, rtol=0, atol=1e-3)
    after = load_file(model / "model.safetensors")
    for key, weights in before.items():
        np.testing.assert_allclose(after[key], weights, rtol=0, atol=1e-2)


def test_two_processes_label_and_distil_as_one(start: Callable) -> None:
    curve, before = pd.read_csv("reports/distill.csv"), load_file(STUDENT / "model.safetensors")
    logits = load_texts(LABELLED)["teacher_logits"][:]
    finish(start("label"))
    np.testing.assert_allclose(load_texts(LABELLED)["teacher_logits"][:], logits, atol=1e-5)
    printed = finish(start("distill"))
    assert printed.count("distill: data/models/student") == 1
    assert_alike(STUDENT, before, curve)  # 5 epochs, whose last batch is a part of one


def test_two_processes_fine_tune_as_one_without_dropout(start: Callable, project: Callable) -> None:
    config = json.loads((ENCODER / "config.json").read_text())
    dropout = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.0)
    (ENCODER / "config.json").write_text(json.dumps(config | dropout))
    # Few of one class, so that the weights in a share of a batch are not those in the whole.
    corpus = load_corpus()
    few = [place for place, label in enumerate(corpus["train"]["label"]) if label or place % 3 == 0]
    corpus["train"] = corpus["train"].select(few)
    shutil.rmtree(CORPUS)
    corpus.save_to_disk(CORPUS)
    weighted = ("finetune.class_weights=balanced", "finetune.epochs=2")
    project("finetune", *weighted)
    curve, before = pd.read_csv("reports/finetune.csv"), load_file(TEACHER / "model.safetensors")
    finish(start("finetune", *weighted))
    assert_alike(TEACHER, before, curve)


def ranks(process: subprocess.Popen[str]) -> dict[str, psutil.Process]:
    children = psutil.Process(process.pid).children()
    return {each.environ()["RANK"]: each for each in children if "RANK" in each.environ()}


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def checkpoint() -> bool:
    return any(CHECKPOINTS.glob("*/checkpoint-*/complete"))


def test_a_killed_rank_is_named_and_the_rerun_resumes(start: Callable) -> None:
    finish(start("finetune"))
    undisturbed = (TEACHER / "model.safetensors").read_bytes()
    process = start("finetune")
    wait_for(checkpoint)
    others = ranks(process)
    others["1"].kill()
    _, errors = process.communicate()
    assert process.returncode == 1
    named = f"finetune: rank 1 of 2 (process {others['1'].pid}) was ended by SIGKILL, as the kernel"
    assert errors.splitlines()[-1].startswith(named)
    assert "Traceback" not in errors
    assert not others["0"].is_running()
    assert (TEACHER / "model.safetensors").read_bytes() == undisturbed
    assert not list(Path("data").rglob("*.partial"))
    assert "resuming an interrupted run from checkpoint" in finish(start("finetune"))
    assert (TEACHER / "model.safetensors").read_bytes() == undisturbed
    assert not CHECKPOINTS.exists()


def test_what_all_ranks_refuse_is_said_once(start: Callable) -> None:
    process = start("finetune", "device=cuda")
    _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.count("finetune: device = cuda, but PyTorch") == 1
    assert "Traceback" not in errors


def test_ranks_end_with_what_started_them_and_one_that_fails_alone_says_why(
    start: Callable,
) -> None:
    process = start("finetune")
    wait_for(checkpoint)
    others = ranks(process).values()
    assert len(others) == 2
    process.kill()
    process.wait()
    wait_for(lambda: not any(each.is_running() for each in others))
    (state,) = CHECKPOINTS.glob("*/checkpoint-*/rng_state_1.pth")
    os.truncate(state, 100)
    process = start("finetune")
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "rank 1 of 2 failed:\n" in errors
    assert errors.count("Traceback") == 1
    assert errors.endswith("This is a bug, or a file is damaged; make verify tells which.\n")
