"""Time other engines on our models' weights, in turns with our forms, into reports/peers.md.

Needs what `dvc repro` has made, and an environment with the engines: `make peers` builds it.
"""

import shlex
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import altair as alt
import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.core.launch.atomic import atomic_file, write_text
from stages.core.launch.command import check_threads
from stages.core.launch.lock import machine_lock
from stages.core.launch.paths import REPORTS, check_root
from stages.core.launch.settings import BenchmarkConfig
from stages.core.measuring.conditions import commit
from stages.core.measuring.rounds import measure_alone, sweep_cells
from stages.core.measuring.worker import Worker
from stages.core.reporting.accuracy import compare
from stages.core.reporting.latency import speedup
from stages.core.reporting.results import architecture, load_predictions
from stages.core.reporting.tables import Column, markdown, render, share
from stages.core.serving.classifier import copy_description, load_tokenizer, sampler
from stages.core.serving.variant import ROLES, Manifest, Variant
from stages.core.task.decoding import accuracy, predicted
from stages.core.text.corpus import load_corpus
from stages.machine import describe, summary
from stages.tools.params import composed
from stages.tools.peers import PEERS, UnsupportedError, worker
from stages.tools.peers.roofline import Rates, limit_ms, measure_rates, work

if TYPE_CHECKING:
    from datasets import DatasetDict

PLAN = ("benchmark.sweep.lengths=[8,32,128]", "benchmark.sweep.rounds=20")
ROOFLINE = "roofline"
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
    and p_value of the test texts against PyTorch. The engine `roofline` has ms and share alone.
    """
    settings, corpus = composed([*PLAN, *overrides]), load_corpus()
    check_threads(settings)
    tables, others, notes, packages = [], [], [], set()
    with tempfile.TemporaryDirectory(prefix="peers-") as scratch, machine_lock(alone=True):
        rates = measure_rates(settings.benchmark.threads)
        for model in ROLES:
            ours = [Variant(model, form) for form in settings.forms]
            made, missing = make_all(model, Path(scratch) / model, corpus)
            served = {name: Path(scratch) / model / name for name in made}
            notes += missing
            packages |= {package for peer in made.values() for package in peer.PACKAGES}
            texts = corpus["test"]["text"][:]
            samples, busy = time_all(ours, served, settings.benchmark, texts, settings.seed)
            others.append(busy)
            times, fastest = summarise(samples, ours)
            quality = judge(ours, served, settings.benchmark.threads, corpus)
            titles = {each.name: f"ours: {architecture(each)}" for each in ours}
            titles |= {name: peer.TITLE for name, peer in made.items()}
            found = times.assign(title=times["engine"].map(titles)).join(quality, on="engine")
            tables.append(found.assign(model=model))
            try:
                limits = limit(times[times["engine"] == fastest], model, rates, settings.benchmark)
                tables.append(limits.assign(model=model))
            except UnsupportedError as error:
                notes.append(f"No roofline of the {model}: {error}.")
    table = pd.concat(tables, ignore_index=True)
    with atomic_file(REPORTS / "peers.csv") as part:
        table.round(4).to_csv(part, index=False)
    with atomic_file(REPORTS / "peers.svg") as part:
        figure(table).save(part)
    target = REPORTS / "peers.md"
    machine = describe(sorted(packages))
    versions = ", ".join(f"{name} {found}" for name, found in machine["packages"].items())
    options = [f"SETTINGS={' '.join(overrides)}"] if overrides else []
    command = shlex.join(["make", "peers", *options])
    facts = f"""{summary(machine)}; {versions}. Commit {commit()}; other programs took
{share(max(others, key=lambda found: found or 0))} of the machine. The command: `{command}`."""
    write_text(target, page(table, facts, notes, rates, settings.benchmark.sweep.rounds))
    return target


def make_all(
    model: str, directory: Path, corpus: "DatasetDict"
) -> tuple[dict[str, ModuleType], list[str]]:
    """Make the model of each peer in directory/<name>; return the peers, and notes on others."""
    checkpoint = Variant(model, "pytorch").directory
    sample = sampler(load_tokenizer(checkpoint), corpus)
    made, notes = {}, []
    for name in tqdm(PEERS, desc=f"convert the {model}", unit="engine", disable=None):
        peer = import_module(f"{__package__}.{name}")
        copy_description(checkpoint, directory / name)
        try:
            for package in peer.PACKAGES:
                version(package)
            peer.make(checkpoint, directory / name, sample)
        except PackageNotFoundError as error:
            notes.append(f"{peer.TITLE}: {error.name} is not installed.")
        except UnsupportedError as error:
            notes.append(f"{peer.TITLE}, the {model}: {error}.")
        else:
            made[name] = peer
    return made, notes


def time_all(
    ours: list[Variant],
    peers: dict[str, Path],
    settings: BenchmarkConfig,
    texts: list[str],
    seed: int,
) -> tuple[pd.DataFrame, float]:
    """Return the timed calls, as `measure` does, and the share of the machine others took."""
    random = np.random.default_rng(seed)
    positions = Manifest.read(ours[0].directory).positions
    plan = sweep_cells(settings.sweep, texts, positions, random)
    single = [cell for cell in plan if cell.workload == "length" and cell.batch == 1]
    served = {each.name: (each.directory, Worker.__module__) for each in ours}
    served |= {name: (directory, worker.__name__) for name, directory in peers.items()}
    samples, found = measure_alone(served, single, settings, random)
    return samples, found["others_share"]


def summarise(samples: pd.DataFrame, ours: list[Variant]) -> tuple[pd.DataFrame, str]:
    """Return engine, length, ms, and share with its interval; and the name of our fastest form.

    That is one form for all lengths, the fastest on average.
    """
    rounds = samples.groupby(["variant", "length", "round"])["ms"].median()
    medians = rounds.groupby(["variant", "length"]).median().unstack()
    fastest = np.log(medians.loc[[each.name for each in ours]]).mean(axis=1).idxmin()
    rows = []
    for engine in medians.mean(axis=1).sort_values(ascending=False).index:
        for length, cell in samples.groupby("length"):
            facts = {"engine": engine, "length": length, "ms": medians.loc[engine, length]}
            rows.append(facts | speedup(cell, engine, fastest).columns("share"))
    return pd.DataFrame(rows), fastest


def limit(
    fastest: pd.DataFrame, model: str, rates: Rates, settings: BenchmarkConfig
) -> pd.DataFrame:
    """Return rows of the roofline; their `share` is what our fastest form takes, in times of it."""
    checkpoint = Variant(model, "pytorch").directory
    works = [work(checkpoint, length) for length in fastest["length"]]
    ms = np.array([limit_ms(each, rates, settings.threads) for each in works])
    facts = {"engine": ROOFLINE, "title": "roofline, INT8", "length": fastest["length"], "ms": ms}
    return pd.DataFrame(facts | {"share": fastest["ms"] / ms})


def judge(
    ours: list[Variant], peers: dict[str, Path], threads: int, corpus: "DatasetDict"
) -> pd.DataFrame:
    """Return accuracy by split, and better, worse and p_value of the test texts, by engine."""
    columns = {}
    for split in ("validation", "test"):
        texts, labels = corpus[split]["text"][:], np.array(corpus[split]["label"][:])
        found = load_predictions([each.name for each in ours], split)
        for name, directory in peers.items():
            # In a process of its own, as engines' threads disturb each other in one.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                logits = pool.submit(worker.answer, directory, threads, texts).result()
            found[name] = pd.DataFrame({"label": labels, "predicted": predicted(logits)})
        columns[split] = {
            name: float(accuracy(labels, answers["predicted"].to_numpy()))
            for name, answers in found.items()
        }
    exact = found[Variant(ours[0].model, "pytorch").name]  # of the test split, the last one
    compared = {name: compare(answers, exact) for name, answers in found.items()}
    against = pd.DataFrame.from_dict(compared, "index")[["better", "worse", "p_value"]]
    return pd.DataFrame(columns).join(against)


def figure(table: pd.DataFrame) -> alt.FacetChart:
    """Return what our fastest form takes of each engine's time, a panel for each model."""
    engines = table[table["engine"] != ROOFLINE]
    base = alt.Chart(engines).encode(y=alt.Y("title:N", title=None, sort=None))
    rules = base.mark_rule(color="gray").encode(x="share_low:Q", x2="share_high:Q")
    points = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=alt.X("share:Q", title="time of our fastest form, as a share of the engine's")
        .scale(domainMin=0)
        .axis(format="%"),
        color=alt.Color("length:N", title="tokens"),
        shape=alt.Shape("length:N", title="tokens"),
    )
    row = alt.Row("model:N", title=None, sort=None)
    return (rules + points).properties(width=380).facet(row=row).resolve_scale(y="independent")


def page(table: pd.DataFrame, facts: str, notes: list[str], rates: Rates, rounds: int) -> str:
    """Return the page."""
    sections = []
    for model, found in table.groupby("model", sort=False):
        cells = found.set_index(["title", "length"])[["ms", "share"]].unstack()
        times = cells["ms"].map("{:.2f}".format).rename(columns="{} tokens, ms".format)
        shares = cells["share"].map("{:.2f}".format).rename(columns="Ours, {}".format)
        rows = found.drop_duplicates("title").set_index("title")
        shown = rows[[]].join([times, shares, render(rows, QUALITY)])
        text = markdown(shown.rename_axis("Engine").reset_index())
        sections.append(f"## The {model}\n\n{text}\n")
    listed = "\n".join([*sections, *(f"- {note}" for note in dict.fromkeys(notes))])
    return f"""# Other engines, on the same weights

{facts}

Single texts, from token ids to logits, {rounds} rounds in random order in one run, each engine in a
process of its own. *Ours* is the time of our fastest form as a share of the engine's, the median
over rounds. Worse and better count the test texts that only PyTorch, or only this engine, gets
right; p is McNemar's.

The roofline is the least that a call takes where products of large matrices reach, as here,
{rates.int8 / 1e9:.0f} (INT8) and {rates.fp32 / 1e9:.0f} (fp32) billion operations a second, and
every weight is read once; beside it, *Ours* is how many times as long our fastest form takes.

{listed}

![Time of our fastest form, as a share of each engine's](peers.svg)

Grey lines are 95% intervals over the rounds; two processes of one engine may differ by more.
"""


if __name__ == "__main__":
    check_root()
    print(f"peers: {run(sys.argv[1:])}")
