import json
import os
from collections.abc import Callable

import pandas as pd
import pytest

from stages.benchmark import ask, worker
from stages.core.errors import InputError
from stages.core.layout import BENCHMARK, VARIANTS


def test_every_variant_is_timed_alike_in_every_round(project: Callable) -> None:
    samples = pd.read_parquet(BENCHMARK / "samples.parquet")
    counts = samples.groupby(["round", "workload", "variant"], observed=True).size()
    assert len(counts) == 2 * 2 * len(VARIANTS)
    assert (counts == 5).all()
    assert (samples["ms"] > 0).all()


def test_the_thread_count_is_read_back_from_every_runtime(project: Callable) -> None:
    workers = json.loads((BENCHMARK / "workers.json").read_text())
    assert {name: worker["threads"] for name, worker in workers.items()} == dict.fromkeys(
        VARIANTS, 1
    )


def test_turns_are_taken_in_random_order(project: Callable) -> None:
    project("benchmark", "benchmark.rounds=3")
    samples = pd.read_parquet(BENCHMARK / "samples.parquet")
    turns = samples[samples["workload"] == "post"].drop_duplicates(["round", "variant"])
    orders = {tuple(turn["variant"]) for _, turn in turns.groupby("round")}
    assert len(orders) > 1


def test_more_threads_than_cores_are_refused(project: Callable) -> None:
    before = (BENCHMARK / "samples.parquet").read_bytes()
    cores = len(os.sched_getaffinity(0))
    with pytest.raises(InputError, match=f"there are {cores} cores.*use {cores} or fewer"):
        project("benchmark", f"benchmark.threads={cores + 1}")
    assert (BENCHMARK / "samples.parquet").read_bytes() == before


def test_a_worker_that_dies_is_named(empty: Callable, capfd: pytest.CaptureFixture) -> None:
    with (
        worker("student_int8", 1, 32) as connection,
        pytest.raises(InputError, match="serves student_int8 died"),
    ):
        ask(connection, "student_int8")
    assert "no model in data/models/student/int8" in capfd.readouterr().err
