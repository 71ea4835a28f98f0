"""Time other engines on our models' weights, in turns with our forms, into reports/peers.md.

Needs what `dvc repro` has made, and an environment with the engines: `make peers` builds it.
"""

import sys
import tempfile
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distributions, version
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import altair as alt
import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.core.engines.classifier import copy_description, encode, load_tokenizer, sampler
from stages.core.engines.variant import ROLES, Manifest, Variant, label
from stages.core.launch.atomic import atomic_file, write_text
from stages.core.launch.lock import machine_lock
from stages.core.launch.paths import REPORTS, check_root
from stages.core.launch.settings import Settings
from stages.core.measuring.conditions import Clocks, commit, conditions
from stages.core.measuring.rounds import measure, sweep_cells
from stages.core.measuring.worker import Worker
from stages.core.reporting.accuracy import compare
from stages.core.reporting.latency import speedup
from stages.core.reporting.results import load_predictions
from stages.core.reporting.tables import Column, markdown, render
from stages.core.task.decoding import accuracy, predicted
from stages.core.text.corpus import load_corpus
from stages.machine import describe, summary
from stages.tools.params import composed
from stages.tools.peers import PEERS, UnsupportedError, worker
from stages.tools.peers.roofline import Rates, limit_ms, measure_rates, work

if TYPE_CHECKING:
    from datasets import DatasetDict

PLAN = (
    "benchmark.sweep.lengths=[8,32,128]",
    "benchmark.sweep.batch_sizes=[1]",
    "benchmark.sweep.rounds=20",
)
QUALITY = (
    Column("Test accuracy", "test", "{:.1%}"),
    Column("Validation", "validation", "{:.1%}"),
    Column("Worse", "worse", "{:.0f}"),
    Column("Better", "better", "{:.0f}"),
    Column("p", "p_value", "{:.2g}"),
)


def run(overrides: list[str]) -> Path:
    """Write peers.csv, a row for each model, engine and length; the figure; the page.

    Columns: model, engine (ours: the variant's name), title, length (tokens), ms (the median of
    single texts, from token ids to logits), share (what our fastest form takes of this engine's
    time, the median over rounds) with its interval, test and validation accuracy, and better, worse
    and p_value of the test texts against PyTorch.
    """
    settings, corpus = composed([*PLAN, *overrides]), load_corpus()
    before = Clocks.read([])
    tables, notes = [], []
    with tempfile.TemporaryDirectory(prefix="peers-") as scratch, machine_lock(alone=True):
        rates = measure_rates(settings.benchmark.threads)
        for model in ROLES:
            ours = [Variant(model, form) for form in settings.forms]
            peers, missing = make_peers(model, Path(scratch) / model, corpus)
            notes += missing
            times = summarise(time_all(ours, peers, settings, corpus["test"]["text"][:]), ours)
            quality = judge(ours, peers, settings, corpus)
            titles = {each.name: f"ours: {label(each)}" for each in ours}
            titles |= {name: import_module(f"{__package__}.{name}").TITLE for name in peers}
            found = times.join(quality, on="engine").assign(model=model)
            tables += [found.assign(title=found["engine"].map(titles)), limits(found, rates)]
    table = pd.concat(tables, ignore_index=True)
    others = conditions(before, Clocks.read([]))["others_share"]
    with atomic_file(REPORTS / "peers.csv") as part:
        table.round(4).to_csv(part, index=False)
    with atomic_file(REPORTS / "peers.svg") as part:
        figure(table).save(part)
    target = REPORTS / "peers.md"
    rounds = settings.benchmark.sweep.rounds
    write_text(target, page(table, notes, rates, others, rounds))
    return target


def make_peers(
    model: str, directory: Path, corpus: "DatasetDict"
) -> tuple[dict[str, Path], list[str]]:
    """Return the directory of each peer that can serve the model, and why others can't."""
    checkpoint = Variant(model, "pytorch").directory
    sample = sampler(load_tokenizer(checkpoint), corpus)
    made, missing = {}, []
    for name in tqdm(PEERS, desc=f"peers of the {model}", unit="engine", disable=None):
        peer, target = import_module(f"{__package__}.{name}"), directory / name
        try:
            for package in peer.PACKAGES:
                version(package)
            copy_description(checkpoint, target)
            peer.make(checkpoint, target, sample)
        except PackageNotFoundError as error:
            missing.append(f"{peer.TITLE}: {error.name} is not installed.")
        except UnsupportedError as error:
            missing.append(f"{peer.TITLE}, the {model}: {error}.")
        else:
            made[name] = target
    return made, missing


def time_all(
    ours: list[Variant], peers: dict[str, Path], settings: Settings, texts: list[str]
) -> pd.DataFrame:
    """Return the timed calls of our forms and of the peers, as `measure` does."""
    random, threads = np.random.default_rng(settings.seed), settings.benchmark.threads
    positions = Manifest.read(ours[0].directory).positions
    plan = sweep_cells(settings.benchmark.sweep, texts, positions, random)
    lengths = [cell for cell in plan if cell.workload == "length"]
    with ExitStack() as stack:
        workers = [Worker(each.name, each.directory, threads) for each in ours]
        workers += [Worker(name, peers[name], threads, worker.__name__) for name in peers]
        ask = {each.name: stack.enter_context(each).ask for each in workers}
        return measure(lengths, ask, settings.benchmark, random)


def summarise(samples: pd.DataFrame, ours: list[Variant]) -> pd.DataFrame:
    """Return engine, length, ms, and share with its interval, of one model's timed calls."""
    rounds = samples.groupby(["variant", "length", "round"], observed=True)["ms"].median()
    medians = rounds.groupby(["variant", "length"], observed=True).median().unstack()
    # One form for all lengths: the one that is the fastest on average.
    fastest = np.log(medians.loc[[each.name for each in ours]]).mean(axis=1).idxmin()
    rows = []
    for length, cell in samples.groupby("length"):
        for engine in medians.index:
            share = speedup(cell, engine, fastest)
            facts = {"engine": engine, "length": length, "ms": medians.loc[engine, length]}
            rows.append(facts | share.columns("share"))
    return pd.DataFrame(rows)


def limits(found: pd.DataFrame, rates: Rates) -> pd.DataFrame:
    """Return the rows of the roofline, whose `share` is how near our fastest form comes to it."""
    fastest, model = found[found["share"] == 1], found["model"].iloc[0]
    works = {each: work(Variant(model, "pytorch").directory, each) for each in fastest["length"]}
    ms = np.array([limit_ms(each, rates) for each in works.values()])
    share = fastest["ms"].to_numpy() / ms
    facts = {"model": model, "engine": "roofline", "title": "roofline, INT8"}
    return pd.DataFrame({"length": [*works], "ms": ms, "share": share}).assign(**facts)


def judge(
    ours: list[Variant], peers: dict[str, Path], settings: Settings, corpus: "DatasetDict"
) -> pd.DataFrame:
    """Return accuracy by split, and better, worse and p_value of the test texts, by engine."""
    exact = Variant(ours[0].model, "pytorch").name
    rows: dict[str, dict[str, float]] = defaultdict(dict)
    for split in ("validation", "test"):
        texts, labels = corpus[split]["text"][:], np.array(corpus[split]["label"][:])
        found = load_predictions([each.name for each in ours], split)
        for name, directory in peers.items():
            # In a process of its own: several engines' threads would disturb each other in one.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                task = pool.submit(answer, directory, settings.benchmark.threads, texts)
                found[name] = pd.DataFrame({"label": labels, "predicted": predicted(task.result())})
        for name, answers in found.items():
            rows[name][split] = float(accuracy(labels, answers["predicted"].to_numpy()))
            rows[name] |= compare(answers, found[exact])
    return pd.DataFrame.from_dict(rows, "index").drop(columns="agreement")


def answer(directory: Path, threads: int, texts: list[str]) -> np.ndarray:
    """Return the logits of texts by a peer, one by one, shape (texts, classes)."""
    peer, tokenizer = worker.load_peer(directory, threads), load_tokenizer(directory)
    progress = tqdm(texts, desc=directory.name, unit="text", disable=None)
    return np.concatenate([peer.logits(encode(tokenizer, [text])) for text in progress])


def figure(table: pd.DataFrame) -> alt.FacetChart:
    """Return what our fastest form takes of each engine's time, a panel for each model."""
    engines = table[table["engine"] != "roofline"]
    base = alt.Chart(engines).encode(y=alt.Y("title:N", title=None, sort=None))
    rules = base.mark_rule(color="gray").encode(x="share_low:Q", x2="share_high:Q")
    points = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=alt.X("share:Q", title="time of our fastest form, as a share of the engine's")
        .scale(domainMin=0)
        .axis(format="%"),
        color=alt.Color("length:N", title="tokens"),
        shape=alt.Shape("length:N", title="tokens"),
    )
    panels = (
        (rules + points).properties(width=380).facet(row=alt.Row("model:N", title=None, sort=None))
    )
    return panels.resolve_scale(y="independent")


def page(table: pd.DataFrame, notes: list[str], rates: Rates, others: float, rounds: int) -> str:
    """Return the page."""
    packages = {name for each in PEERS for name in import_module(f"{__package__}.{each}").PACKAGES}
    machine = describe(sorted(packages & installed()))
    versions = ", ".join(f"{name} {found}" for name, found in machine["packages"].items())
    sections = []
    for model, found in table.groupby("model", sort=False):
        cells = found.set_index(["title", "length"])[["ms", "share"]].unstack()
        times = cells["ms"].map("{:.2f}".format).rename(columns="ms, {} tokens".format)
        shares = cells["share"].map("{:.2f}".format).rename(columns="Ours, {} tokens".format)
        rows = found.drop_duplicates("title").set_index("title")
        shown = rows[[]].join([times, shares, render(rows, QUALITY)])
        sections.append(f"## The {model}\n\n{markdown(shown.rename_axis('Engine').reset_index())}")
    return "\n\n".join(
        [
            "# Other engines, on the same weights",
            f"{summary(machine)}; {versions}. Commit {commit()}; other programs took {others:.1%} "
            "of the machine. The command: `make peers`.",
            f"Single texts, from token ids to logits, {rounds} rounds in random order in one run, "
            "each engine in a process of its own. *Ours* is the time of our fastest form as a "
            "share of the engine's, the median over rounds. Worse and better count the test texts "
            "that only PyTorch, or only this engine, gets right; p is McNemar's.",
            f"The roofline is the least that a call takes where large products reach "
            f"{rates.int8 / 1e9:.0f} (INT8) and {rates.fp32 / 1e9:.0f} (fp32) billion operations "
            "a second and every weight is read once; beside it, *Ours* is how many times as long "
            "our fastest form takes.",
            *sections,
            *notes,
            "![Time of our fastest form, as a share of each engine's](peers.svg)\n",
        ]
    )


def installed() -> set[str]:
    """Return the names of all installed distributions."""
    return {each.name for each in distributions()}


if __name__ == "__main__":
    check_root()
    print(f"peers: {run(sys.argv[1:])}")
