"""Profile every variant: where the time of a call goes, operator by operator.

Each variant is profiled in a process of its own, by its engine's own profiler, which slows it
down: the shares are the result; latencies are the benchmark's.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.core.engines import KINDS, load_engine
from stages.core.engines.classifier import (
    WARMUP,
    encode,
    load_classifier,
    load_tokenizer,
    milliseconds,
)
from stages.core.engines.variant import Manifest, variants
from stages.core.launch.atomic import atomic_file
from stages.core.launch.command import launch
from stages.core.launch.paths import REPORTS
from stages.core.launch.settings import Settings
from stages.core.measuring.conditions import Clocks, conditions
from stages.core.text.corpus import draw_texts, load_corpus


def run(config: Settings) -> str:
    """Write reports/profile.csv, a row an operator of a variant."""
    random = np.random.default_rng(config.seed)
    texts = draw_texts(load_corpus()["test"]["text"][:], config.profile.texts, random)
    tables = []
    before = Clocks.read([])
    context = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        for variant in tqdm(variants(config.forms), desc="profile", unit="variant", disable=None):
            task = pool.submit(profile_variant, variant.directory, texts, config.profile.threads)
            tables.append(task.result().assign(variant=variant.name))
    profile = pd.concat(tables, ignore_index=True)
    profile = profile.sort_values("kind", kind="stable", key=lambda kinds: kinds.map(KINDS.index))
    profile["others_share"] = conditions(before, Clocks.read([]))["others_share"]
    columns = ["variant", "kind", "operator", "calls", "ms", "slowdown", "others_share"]
    file = REPORTS / "profile.csv"
    with atomic_file(file) as part:
        profile[columns].round(5).to_csv(part, index=False)
    fastest = profile.groupby("variant")["ms"].sum().idxmin()
    kinds = profile[profile["variant"] == fastest].groupby("kind")["ms"].sum()
    return f"{file}: {fastest} spends {kinds.max() / kinds.sum():.0%} on {kinds.idxmax()}"


def profile_variant(directory: Path, texts: list[str], threads: int) -> pd.DataFrame:
    """Return a row an operator: operator, kind, calls and ms a text, and slowdown.

    The slowdown is how many times longer calls take under the profiler, which inflates operators:
    together they are scaled down to the time of a call without it, and the rest of that is the time
    between operators.
    """
    tokenizer, classifier = load_tokenizer(directory), load_classifier(directory, threads)
    engine = load_engine(Manifest.read(directory).engine)
    inputs = [encode(tokenizer, [text]) for text in texts]
    encoding_ms = milliseconds(lambda: [encode(tokenizer, [text]) for text in texts])
    for encoded in inputs[:WARMUP]:
        classifier.logits(encoded)
    plain_ms = milliseconds(lambda: [classifier.logits(encoded) for encoded in inputs])
    operators, profiled_ms = engine.profile(directory, inputs, threads)
    table = pd.DataFrame(operators, columns=["operator", "calls", "ms"])
    table["ms"] *= min(1.0, plain_ms / table["ms"].sum())
    table.loc[len(table)] = ["between operators", len(texts), plain_ms - table["ms"].sum()]
    table.loc[len(table)] = ["encode", len(texts), encoding_ms]
    table[["calls", "ms"]] /= len(texts)
    kinds = table["operator"].map({"encode": "tokenizer"} | engine.KIND_OF).fillna("overhead")
    return table.assign(kind=kinds, slowdown=profiled_ms / plain_ms)


if __name__ == "__main__":
    launch(run, alone=True)
