"""Time every variant, in turns, in one run, on an otherwise quiet machine.

Speed drifts by half within minutes on a shared machine, so variants are compared round by round:
in each, every variant takes one turn, in random order, in a process of its own (the thread pools
of PyTorch and ONNX Runtime disturb each other in one). Only one process is active at a time; the
others, this one included, block.
"""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass
from tqdm import tqdm

from stages.core.app import launch
from stages.core.config import STRICT, Count, ModelConfig, Seed
from stages.core.corpus import load_corpus
from stages.core.errors import InputError
from stages.core.files import whole_directory, write_json
from stages.core.layout import BENCHMARK, VARIANTS, variant_directory
from stages.core.worker import serve


@dataclass(config=STRICT)
class BenchmarkConfig:
    """Settings of the measurement."""

    threads: Count
    rounds: Count
    calls: Count
    warmup: Annotated[int, Field(ge=0)]
    post_sentence: Annotated[str, Field(min_length=1)]


@dataclass(config=STRICT)
class Config:
    """Settings of this stage."""

    benchmark: BenchmarkConfig
    model: ModelConfig
    seed: Seed


def run(config: Config) -> str:
    """Write data/benchmark: samples.parquet, one row a timed call, and workers.json.

    Two workloads, both batch 1 and from token ids to logits: `post`, the post's sentence over and
    over, and `test`, a random draw of test sentences, the same for every variant of a round.

    Raises:
        InputError: more threads are asked for than this process has cores.
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
    tables = []
    with ExitStack() as stack:
        workers = {
            variant: stack.enter_context(worker(variant, settings.threads, config.model.max_length))
            for variant in VARIANTS
        }
        loaded = {variant: ask(workers[variant], variant) for variant in VARIANTS}
        check_threads(loaded, settings.threads)
        for number in tqdm(range(settings.rounds), desc="benchmark", unit="round", disable=None):
            draw = random.choice(sentences, settings.calls)
            workloads = {"post": [settings.post_sentence] * settings.calls, "test": draw.tolist()}
            for workload, texts in workloads.items():
                for variant in random.permutation(VARIANTS).tolist():
                    request = (texts[: settings.warmup], texts)
                    table = pd.DataFrame({"ms": ask(workers[variant], variant, request)})
                    tables.append(table.assign(variant=variant, workload=workload, round=number))
    samples = pd.concat(tables, ignore_index=True)
    with whole_directory(BENCHMARK) as directory:
        samples.astype({"variant": "category", "workload": "category", "ms": "float32"}).to_parquet(
            directory / "samples.parquet", index=False
        )
        write_json(directory / "workers.json", loaded)
    fastest = samples[samples["workload"] == "post"].groupby("variant")["ms"].mean()
    return f"{BENCHMARK}, {len(samples)} calls; {fastest.idxmin()} takes {fastest.min():.2f} ms"


def check_threads(loaded: dict[str, dict[str, float]], threads: int) -> None:
    """Raise InputError if a runtime took another number of threads than it was told."""
    for variant, told in loaded.items():
        if told["threads"] != threads:
            raise InputError(
                f"{variant} runs on {told['threads']} threads, not on benchmark.threads = {threads}"
            )


@contextmanager
def worker(variant: str, threads: int, max_length: int) -> Iterator[Connection]:
    """Start a process that serves one variant; yield the connection to it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=serve, args=(theirs, variant_directory(variant), threads, max_length), daemon=True
    )
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join(timeout=10)
        process.kill()


def ask(connection: Connection, variant: str, request: Any = None) -> Any:
    """Send a request, if any, and block until its answer."""
    try:
        if request is not None:
            connection.send(request)
        return connection.recv()
    except (EOFError, BrokenPipeError, ConnectionResetError) as error:
        raise InputError(
            f"the process that serves {variant} died; look above for its error, then run again"
        ) from error


if __name__ == "__main__":
    launch(run, Config, alone=True)
