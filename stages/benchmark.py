"""Time every variant, in turns, in one run, on an otherwise quiet machine.

Speed drifts by half within minutes on a shared machine, so variants are compared round by round:
in each, every variant takes one turn, in random order, in a process of its own (the thread pools
of PyTorch and ONNX Runtime disturb each other in one). Only one process is active at a time; the
others, this one included, block. One variant is there twice: what the two differ by is noise.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Literal

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass
from tqdm import tqdm

from stages.core.launch.atomic import atomic_directory, write_json
from stages.core.launch.command import launch
from stages.core.launch.errors import InputError
from stages.core.launch.parse import STRICT
from stages.core.launch.paths import BENCHMARK, CONTROL, VARIANTS
from stages.core.launch.settings import BenchmarkConfig, Seed, SweepConfig
from stages.core.measuring.conditions import Clocks, commit, conditions
from stages.core.measuring.worker import Answer, Ask, Worker
from stages.core.text.corpus import draw_texts, load_corpus


@dataclass(config=STRICT)
class Config:
    """Settings of this stage."""

    benchmark: BenchmarkConfig
    seed: Seed


@dataclass(frozen=True)
class Cell:
    """What every variant does once in one round."""

    workload: Literal["post", "test", "length", "batch"]
    quantity: Literal["model", "label"]
    round: int
    batches: list[list[str]]
    length: int = 0  # in tokens; 0: each text's own
    batch: int = 1


def run(config: Config) -> str:
    """Write data/benchmark: samples.parquet (a row a timed call), workers.json, conditions.json.

    Raises:
        InputError: more threads are asked for than this process has cores, no length of the sweep
            is one that the models can read, or a worker died.
    """
    settings = config.benchmark
    cores = len(os.sched_getaffinity(0))
    if settings.threads > cores:
        raise InputError(
            f"benchmark.threads = {settings.threads}, but there are {cores} cores; more threads "
            f"than cores slow ONNX Runtime down 2 to 4 times; use {cores} or fewer"
        )
    sentences = load_corpus()["test"]["text"][:]
    random = np.random.default_rng(config.seed)
    artefacts = {variant: variant for variant in VARIANTS} | {CONTROL: settings.control}
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name, artefact in artefacts.items():  # one by one: their loading is timed too
            workers[name] = stack.enter_context(Worker(name, artefact, settings.threads))
        loaded = {name: worker.loaded for name, worker in workers.items()}
        check_threads(loaded, settings.threads)
        positions = min(told["positions"] for told in loaded.values())
        plan = [
            *request_cells(settings, sentences, random),
            *sweep_cells(settings.sweep, sentences, positions, random),
        ]
        pids = [worker.process.pid for worker in workers.values()]
        before = Clocks.read(pids)
        ask = {name: worker.ask for name, worker in workers.items()}
        samples = measure(plan, ask, settings, random)
        found = {"commit": commit()} | conditions(before, Clocks.read(pids))
    with atomic_directory(BENCHMARK) as directory:
        samples.to_parquet(directory / "samples.parquet", index=False)
        write_json(directory / "workers.json", loaded)
        write_json(directory / "conditions.json", found)
    post = samples[(samples["workload"] == "post") & (samples["quantity"] == "model")]
    fastest = post.groupby("variant", observed=True)["ms"].mean().drop(CONTROL)
    return f"{BENCHMARK}, {len(samples)} calls; {fastest.idxmin()} takes {fastest.min():.2f} ms"


def request_cells(
    settings: BenchmarkConfig, sentences: list[str], random: np.random.Generator
) -> Iterator[Cell]:
    """Yield the cells of single requests: the post's sentence, and a draw of test sentences."""
    for number in range(settings.rounds):
        draw = draw_texts(sentences, settings.calls, random)
        for quantity in ("model", "label"):
            yield Cell("post", quantity, number, [[settings.post_sentence]] * settings.calls)
            yield Cell("test", quantity, number, [[sentence] for sentence in draw])


def sweep_cells(
    settings: SweepConfig, sentences: list[str], positions: int, random: np.random.Generator
) -> Iterator[Cell]:
    """Yield the cells of the sweep, from token ids to logits.

    `length`: texts of exactly so many tokens (words of test sentences, run together and cut), as
    long as the models can read, in batches. `batch`: as many real test sentences as the largest
    batch holds, in batches padded to their longest.
    """
    words = " ".join(sentences).split()
    lengths = [length for length in settings.lengths if length <= positions]
    if not lengths:
        raise InputError(
            f"benchmark.sweep.lengths = {settings.lengths}, but the models read {positions} tokens "
            f"at most; name a shorter length"
        )
    for number in range(settings.rounds):
        for batch in settings.batch_sizes:
            for length in lengths:
                order = np.resize(random.permutation(len(words)), (batch, length))
                rows = [" ".join(words[place] for place in row) for row in order]
                yield Cell("length", "model", number, [rows], length, batch)
        draw = draw_texts(sentences, max(settings.batch_sizes), random)
        for batch in settings.batch_sizes:
            batches = [draw[start : start + batch] for start in range(0, len(draw), batch)]
            yield Cell("batch", "model", number, batches, 0, batch)


def measure(
    plan: list[Cell], ask: Mapping[str, Ask], settings: BenchmarkConfig, random: np.random.Generator
) -> pd.DataFrame:
    """Return the timed calls of every cell, by every variant in random order.

    Columns: variant, workload, quantity, round, length (0: each text's own), batch, texts (in this
    call), padding (share of the tokens), ms, peak_mb (of the process until then).
    """
    tables = []
    for cell in tqdm(plan, desc="benchmark", unit="cell", disable=None):
        swept = cell.workload in ("length", "batch")
        pace = settings.sweep if swept else settings
        request = {
            "batches": cell.batches,
            "tokens": cell.length,
            "quantity": cell.quantity,
            "warmup": pace.warmup,
            "seconds": pace.seconds,
        }
        sizes = [len(batch) for batch in cell.batches]
        names = VARIANTS if swept else tuple(ask)  # the control would tell nothing new there
        for variant in random.permutation(names).tolist():
            answer = ask[variant](request)
            if cell.length and answer["tokens"] != cell.length:
                raise InputError(
                    f"{variant} made {answer['tokens']} tokens of {cell.length} words of the test "
                    f"split; its texts hold characters that the tokenizer drops: mend them, or "
                    f"take {cell.length} out of benchmark.sweep.lengths"
                )
            tables.append(
                pd.DataFrame(
                    {
                        "variant": variant,
                        "workload": cell.workload,
                        "quantity": cell.quantity,
                        "round": cell.round,
                        "length": cell.length,
                        "batch": cell.batch,
                        "texts": np.resize(sizes, len(answer["ms"])),
                        "padding": answer["padding"],
                        "ms": answer["ms"],
                        "peak_mb": answer["peak_mb"],
                    }
                )
            )
    kinds = {"variant": "category", "workload": "category", "quantity": "category", "ms": "float32"}
    return pd.concat(tables, ignore_index=True).astype(kinds)


def check_threads(loaded: dict[str, Answer], threads: int) -> None:
    """Raise InputError if a runtime took another number of threads than it was told."""
    for variant, told in loaded.items():
        if told["threads"] != threads:
            raise InputError(
                f"{variant} runs on {told['threads']} threads, not on benchmark.threads = {threads}"
            )


if __name__ == "__main__":
    launch(run, Config, alone=True)
