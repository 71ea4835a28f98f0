import json
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.core.launch.errors import InputError
from stages.core.launch.paths import BENCHMARK
from stages.core.launch.settings import CONTROL, BenchmarkConfig
from stages.core.measuring.rounds import measure, request_cells, sweep_cells
from stages.core.measuring.worker import Answer, Ask
from stages.core.reporting.latency import speedup, summarise
from stages.core.serving.classifier import load_classifier
from stages.core.serving.variant import Variant
from tests.conftest import VARIANTS, configured

NAMES = (*VARIANTS, CONTROL)


def samples() -> pd.DataFrame:
    return pd.read_parquet(BENCHMARK / "samples.parquet")


def test_every_variant_is_timed_alike_in_every_round(project: Callable) -> None:
    table = samples()
    single = table[table["workload"].isin(["post", "test"])]
    counts = single.groupby(["round", "workload", "quantity", "variant"]).size()
    assert len(counts) == 6 * 2 * 2 * len(NAMES)
    assert {*counts.xs(("test", "label"), level=("workload", "quantity"))} == {4}
    assert {*counts.xs("model", level="quantity"), *counts.xs("post", level="workload")} == {2}
    assert (table["ms"] > 0).all()
    assert (table["peak_mb"] > 30).all()


def test_the_sweep_has_every_length_that_the_model_can_read_and_every_batch_size(
    project: Callable,
) -> None:
    table = samples()
    swept = table[table["workload"] == "length"]
    cells = set(zip(swept["length"], swept["batch"], strict=True))
    assert cells == {(8, 1), (8, 3), (32, 1), (32, 3)}  # 256 tokens are too many for 64 positions
    assert (swept["texts"] == swept["batch"]).all()
    assert (swept["padding"] == 0).all()
    real = table[table["workload"] == "batch"]
    assert real.groupby(["variant", "batch"])["texts"].sum().eq(3).all()
    assert (real.loc[real["batch"] == 1, "padding"] == 0).all()
    assert (real.loc[real["batch"] == 3, "padding"] > 0).all()


def test_the_thread_count_is_read_back_from_every_engine(project: Callable) -> None:
    for name in VARIANTS:
        assert load_classifier(Variant.named(name).directory, 1).threads == 1


def test_an_onnx_worker_needs_less_memory_than_a_pytorch_one(project: Callable) -> None:
    peak = samples().groupby("variant")["peak_mb"].max()
    assert peak["student_int8"] < 0.5 * peak["student_pytorch"]


def test_what_else_went_on_is_kept(project: Callable) -> None:
    found = json.loads((BENCHMARK / "conditions.json").read_text())
    assert 0 <= found["others_share"] <= 1
    assert found["threads"] == 1
    assert found["affinity"] == sorted(os.sched_getaffinity(0))


def test_lengths_that_no_model_can_read_are_refused(project: Callable) -> None:
    with pytest.raises(InputError, match=r"lengths = \[128\], but the models read 64 tokens"):
        project("benchmark", "benchmark.sweep.lengths=[128]")


# Fake workers: their latencies are known.

TRUE_MS = dict(zip(VARIANTS, (6.0, 3.0, 1.2, 1.1, 2.0, 1.0, 0.3, 0.4), strict=True))
TRUE_MS[CONTROL] = TRUE_MS["student_int8"]


class FakeMachine:
    """Workers whose latencies are TRUE_MS, times what the machine does to all of them."""

    def __init__(self, *, drift: float = 0, tail: float = 0) -> None:
        self.random = np.random.default_rng(7)
        self.drift, self.tail = drift, tail
        self.seconds = 0.0
        self.turns: list[str] = []

    def ask(self, name: str) -> Ask:
        def answer(_: str, *, batches: list[list[str]], **__: Any) -> Answer:
            calls = len(batches)
            slowdown = 1 + self.drift * np.sin(self.seconds / 20) ** 2
            ms = TRUE_MS[name] * slowdown * self.random.lognormal(0, 0.05, calls)
            ms[self.random.random(calls) < self.tail] += 100
            self.seconds += ms.sum() / 1e3
            self.turns.append(name)
            return {"ms": ms.tolist(), "tokens": 7, "padding": 0.0, "peak_mb": 1.0}

        return answer


@cache
def settings() -> BenchmarkConfig:
    return configured().benchmark


def fake_samples(machine: FakeMachine) -> pd.DataFrame:
    random = np.random.default_rng(1)
    plan = list(request_cells(settings(), ["a sentence", "another one"], random))
    return measure(plan, {name: machine.ask(name) for name in NAMES}, settings(), random)


def test_known_ratios_are_recovered_from_drift_and_tails() -> None:
    # It takes twice as long at times, and three calls in a hundred take 100 ms more.
    table = fake_samples(FakeMachine(drift=1, tail=0.03))
    for measured in table["workload"].unique():
        ours = table[(table["workload"] == measured) & (table["quantity"] == "label")]
        for name in NAMES:
            found = speedup(ours, name, "teacher_pytorch")
            assert found.value == pytest.approx(6 / TRUE_MS[name], rel=0.03)
            assert found.low <= found.value <= found.high
        assert speedup(ours, CONTROL, "student_int8").value == pytest.approx(1, abs=0.03)


def test_heavy_tails_show_in_the_p99() -> None:
    for tail, p99 in ((0, 0.34), (0.03, 100.3)):
        table = fake_samples(FakeMachine(tail=tail))
        student = table[(table["variant"] == "student_int8") & (table["quantity"] == "label")]
        assert summarise(student, len(student))["p99"] == pytest.approx(p99, rel=0.03)


def test_a_text_of_another_length_than_the_sweeps_is_refused() -> None:
    machine, random = FakeMachine(), np.random.default_rng(1)
    plan = list(sweep_cells(settings().sweep, ["a sentence"], 512, random))
    with pytest.raises(InputError, match="made 7 tokens of 8 words"):
        measure(plan, {name: machine.ask(name) for name in NAMES}, settings(), random)


def test_turns_are_taken_in_a_random_order_that_the_seed_decides() -> None:
    machines = [FakeMachine(), FakeMachine()]
    for machine in machines:
        fake_samples(machine)
    first, again = (machine.turns for machine in machines)
    assert first == again
    turns = len(NAMES)
    orders = {tuple(first[start : start + turns]) for start in range(0, len(first), turns)}
    assert all(set(order) == set(NAMES) for order in orders)
    assert len(orders) > 50


def test_all_variants_of_a_round_get_the_same_sentences() -> None:
    sentences = [f"sentence {number}" for number in range(1000)]
    cells = list(request_cells(settings(), sentences, np.random.default_rng(1)))
    draws = [cell.batches for cell in cells if cell.workload == "test"]
    from_ids, from_text = draws[::2], draws[1::2]
    assert from_ids[0] == from_text[0][: len(from_ids[0])]
    assert from_text[0] != from_text[1]
    assert {len(draw) for draw in from_ids} == {settings().calls}
    assert {len(draw) for draw in from_text} == {settings().tail_calls}


def test_a_text_of_the_sweep_has_enough_words_for_its_length() -> None:
    cells = sweep_cells(
        settings().sweep, ["two words", "and three more"], 512, np.random.default_rng(1)
    )
    for cell in cells:
        if cell.workload == "length":
            assert all(len(text.split()) == cell.length for text in cell.batches[0])
            assert len(cell.batches[0]) == cell.batch
