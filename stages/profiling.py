"""Profile every variant: where the time of a call goes, operator by operator.

Each variant is profiled in a process of its own, by its engine's own profiler, which slows it
down: the shares are the result; latencies are the benchmark's.
"""

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.core.engines import KINDS
from stages.core.launch.atomic import atomic_file
from stages.core.launch.command import launch
from stages.core.launch.paths import REPORTS
from stages.core.launch.settings import Settings
from stages.core.measuring.conditions import Clocks, disturbances
from stages.core.measuring.worker import Worker
from stages.core.serving.variant import Variant, variants
from stages.core.text.corpus import draw_texts, load_corpus


def run(config: Settings) -> str:
    """Write reports/profile.csv, one row per operator and variant."""
    random = np.random.default_rng(config.seed)
    texts = draw_texts(load_corpus()["test"]["text"][:], config.profile.texts, random)
    before = Clocks.read([])
    progress = tqdm(variants(config.forms), desc="profile", unit="variant", disable=None)
    tables = [profile_variant(each, texts, config.benchmark.threads) for each in progress]
    profile = pd.concat(tables, ignore_index=True)
    profile = profile.sort_values("kind", kind="stable", key=lambda kinds: kinds.map(KINDS.index))
    columns = ["variant", "kind", "operator", "calls", "ms", "slowdown"]
    file = REPORTS / "profile.csv"
    disturbed = disturbances(before, Clocks.read([]))
    with atomic_file(file) as part:
        profile[columns].round(5).assign(**disturbed).to_csv(part, index=False)
    fastest = profile.groupby("variant")["ms"].sum().idxmin()
    kinds = profile[profile["variant"] == fastest].groupby("kind")["ms"].sum()
    return f"{file}: {fastest} spends {kinds.max() / kinds.sum():.0%} on {kinds.idxmax()}"


def profile_variant(variant: Variant, texts: list[str], threads: int) -> pd.DataFrame:
    """Return one row per operator: operator, kind, calls and ms per text, slowdown, variant.

    The slowdown is how many times longer calls take under the profiler, which inflates operators:
    together they are scaled down to the time of a call without it, and the rest of that is the time
    between operators.
    """
    with Worker(variant.name, variant.directory, threads) as worker:
        profiled = worker.ask("profile", texts=texts)
    table = pd.DataFrame(profiled["operators"], columns=["operator", "kind", "calls", "ms"])
    table["ms"] *= min(1.0, profiled["plain_ms"] / table["ms"].sum())
    between = profiled["plain_ms"] - table["ms"].sum()
    table.loc[len(table)] = ["between operators", "overhead", len(texts), between]
    table.loc[len(table)] = ["encode", "tokenizer", len(texts), profiled["encode_ms"]]
    table[["calls", "ms"]] /= len(texts)
    slowdown = profiled["profiled_ms"] / profiled["plain_ms"]
    return table.assign(slowdown=slowdown, variant=variant.name)


if __name__ == "__main__":
    launch(run, alone=True)
