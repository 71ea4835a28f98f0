"""Rounds: in each, every variant takes one turn per workload, in random order."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.core.launch.errors import InputError
from stages.core.launch.settings import CONTROL, BenchmarkConfig, SweepConfig
from stages.core.measuring.conditions import Clocks, disturbances, power_settings
from stages.core.measuring.worker import Ask, Worker
from stages.core.text.corpus import draw_texts

POST_SENTENCE = "Sample input text for benchmarking"
CELL_COLUMNS = ("workload", "quantity", "round", "length", "batch")


@dataclass(frozen=True)
class Cell:
    """What every variant does once in one round."""

    workload: Literal["post", "test", "length", "batch"]
    quantity: Literal["model", "label"]
    round: int
    batches: list[list[str]]
    length: int = 0  # in tokens; 0: each text's own
    batch: int = 1


def request_cells(
    settings: BenchmarkConfig, sentences: list[str], random: np.random.Generator
) -> Iterator[Cell]:
    """Yield the cells of single requests: the post's sentence, and a draw of test sentences.

    The SLA limits the tail of these from text to label, which takes the most calls.
    """
    for number in range(settings.rounds):
        draw = draw_texts(sentences, max(settings.calls, settings.tail_calls), random)
        post, test = [[POST_SENTENCE]] * settings.calls, [[text] for text in draw]
        yield Cell("post", "model", number, post)
        yield Cell("test", "model", number, test[: settings.calls])
        yield Cell("post", "label", number, post)
        yield Cell("test", "label", number, test)


def sweep_cells(
    settings: SweepConfig, sentences: list[str], positions: int, random: np.random.Generator
) -> Iterator[Cell]:
    """Yield the cells of the sweep, from token ids to logits.

    `length`: batches of texts of exactly that many tokens (words of test sentences, joined and
    cut), for the lengths that the models can read. `batch`: as many real test sentences as the
    largest batch holds, in batches padded to their longest.
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


def measure_alone(
    served: Mapping[str, tuple[Path, str]],
    plan: list[Cell],
    settings: BenchmarkConfig,
    random: np.random.Generator,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return what `measure` does, with a process for each variant, and the conditions meanwhile.

    `served` has each variant's directory and the module of its worker.
    """
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(name, directory, settings.threads, module))
            for name, (directory, module) in served.items()
        }
        pids = [worker.process.pid for worker in workers.values()]
        before = Clocks.read(pids)
        ask = {name: worker.ask for name, worker in workers.items()}
        samples = measure(plan, ask, settings, random)
        return samples, disturbances(before, Clocks.read(pids)) | power_settings()


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
        sizes = [len(batch) for batch in cell.batches]
        names = [name for name in ask if not (swept and name == CONTROL)]
        for variant in random.permutation(names).tolist():
            answer = ask[variant](
                "turn",
                batches=cell.batches,
                tokens=cell.length,
                quantity=cell.quantity,
                warmup=pace.warmup,
                seconds=pace.seconds,
            )
            if cell.length and answer["tokens"] != cell.length:
                raise InputError(
                    f"{variant} made {answer['tokens']} tokens of {cell.length} words of the test "
                    f"split, whose texts contain characters that its tokenizer drops; correct "
                    f"them, or remove {cell.length} from benchmark.sweep.lengths"
                )
            tables.append(
                pd.DataFrame(
                    {"variant": variant}
                    | {name: getattr(cell, name) for name in CELL_COLUMNS}
                    | {"texts": np.resize(sizes, len(answer["ms"]))}
                    | {name: answer[name] for name in ("padding", "ms", "peak_mb")}
                )
            )
    kinds = {"variant": "category", "workload": "category", "quantity": "category", "ms": "float32"}
    return pd.concat(tables, ignore_index=True).astype(kinds)
