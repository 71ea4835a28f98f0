"""Measure how time and memory grow with the texts (`make growth`), into reports/growth.

At 1, 10 and 100 times the corpus: made-up texts of the same words and lengths, in a project of
their own. Where every text passes through a model, a few are timed and the rest is extrapolated.
Needs what `dvc repro` has made.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.core.engines import milliseconds
from stages.core.launch.atomic import atomic_directory, write_text
from stages.core.launch.errors import InputError, read_json
from stages.core.launch.lock import machine_lock
from stages.core.launch.paths import (
    AUGMENTED,
    CORPUS,
    ENCODER,
    LABELLED,
    MODELS,
    REPORTS,
    check_root,
    existing,
)
from stages.core.measuring.conditions import commit
from stages.core.measuring.worker import Worker
from stages.core.reporting.figures import SIZE
from stages.core.reporting.results import accuracies
from stages.core.reporting.tables import markdown
from stages.core.serving.variant import variants
from stages.core.task.predictions import tabulate
from stages.core.text.corpus import label_names, load_corpus, load_texts
from stages.machine import describe, summary
from stages.tools.params import composed

FACTORS = (1, 10, 100)
PLANNED = 100_000_000  # texts, to which time and memory are extrapolated
SAMPLE = 256  # texts that pass through a model
STEPS = 50  # of training, whose batches are long and short ones
NEW = [
    *("data=local", "data.source.path=texts.csv", "data.text=text", "data.label=label"),
    # As README advises for many texts.
    *("augment.spans=0", "augment.joined=0"),
]
ROOT, MODULE = Path(__file__).parents[2], "stages.tools.growth"
# What wait4 says of a process's memory is at least that of the process which started it.
RUNNER = """
import atexit, runpy, sys
from stages.core.measuring.worker import peak_mb
atexit.register(lambda: print(peak_mb()))
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def run(overrides: list[str]) -> Path:
    """Write growth.csv (phase, texts, seconds, gb, extrapolated), a page and a figure."""
    settings, corpus = composed(overrides), load_corpus()
    words = [text.split() for text in corpus["train"]["text"][:]]
    count = sum(len(split) for split in corpus.values())
    rows: list[dict[str, Any]] = []
    if not settings.finetune.epochs:
        raise InputError("growth times the fine-tuning; set finetune.epochs to 1 or more")
    with machine_lock(alone=True), tempfile.TemporaryDirectory(prefix="growth-") as scratch:
        real = begin_project(Path(scratch) / "real", ENCODER, CORPUS, LABELLED, MODELS)
        costs = json.loads(measure(real, overrides, MODULE, "passes")[2][-1])
        for stage, made in ("finetune", ()), ("distill", (LABELLED, MODELS / "teacher")):
            project = begin_project(Path(scratch) / stage, ENCODER, CORPUS, *made)
            _, step = json.loads(measure(project, overrides, MODULE, stage)[2][-1])
            costs[f"{stage}, a pass"] = step / getattr(settings, stage).batch_size
        progress = tqdm(FACTORS, desc="growth", unit="corpus", disable=None)
        for texts in (factor * count for factor in progress):
            project = begin_project(Path(scratch) / str(texts), ENCODER)
            made_up(words, label_names(corpus), texts).to_csv(project / "texts.csv", index=False)
            measured = partial(measure, project, [*overrides, *NEW])
            measured("stages.fetch", "run.item=corpus")
            found = {
                "prepare": measured("stages.prepare"),
                "augment": measured("stages.augment"),
                "finetune, until its first step": measured(MODULE, "start"),
                "report, scores and intervals": measured(MODULE, "scores"),
            }
            for phase, (seconds, gb, printed) in found.items():
                rows.append({"phase": phase, "texts": texts, "seconds": seconds, "gb": gb})
                if phase.startswith("finetune"):
                    rows[-1]["seconds"], _ = json.loads(printed[-1])
            for phase, number in passing(project).items():
                rows.append({"phase": phase, "texts": texts, "seconds": costs[phase] * number})
    table = pd.DataFrame(rows).assign(extrapolated=lambda rows: rows["gb"].isna())
    target = REPORTS / "growth"
    with atomic_directory(target) as part:
        table.round(3).to_csv(part / "growth.csv", index=False)
        figure(table).save(part / "growth.svg")
        write_text(part / "README.md", page(table))
    return target


def begin_project(directory: Path, *linked: Path) -> Path:
    """Make a directory a project with this one's settings and some of its outputs."""
    directory.mkdir()
    (directory / "dvc.yaml").touch()
    (directory / "conf").symlink_to(Path("conf").absolute())
    for each in linked:
        (directory / each.parent).mkdir(parents=True, exist_ok=True)
        (directory / each).symlink_to(existing(each).absolute())
    return directory


def passing(project: Path) -> dict[str, int]:
    """Return how many texts of a project pass through a model in each phase."""
    from datasets import load_from_disk

    splits = read_json(project / REPORTS / "data.json")
    train, *held_out = (splits[split]["rows"] for split in ("train", "validation", "test"))
    labelled = train + load_from_disk(str(project / AUGMENTED)).num_rows
    return {
        "finetune, a pass": train,
        "label": labelled,
        "distill, a pass": labelled,
        "evaluate, all variants": sum(held_out),
    }


def made_up(words: list[list[str]], labels: list[str], count: int) -> pd.DataFrame:
    """Return texts of random words, as long as those of `words`, with random labels."""
    random = np.random.default_rng(0)
    pool = np.array([word for text in words for word in text])
    ends = np.cumsum(random.choice([len(text) for text in words], count))
    drawn = np.split(pool[random.integers(len(pool), size=ends[-1])], ends[:-1])
    texts = [" ".join(each) for each in drawn]
    return pd.DataFrame({"text": texts, "label": random.choice(labels, count)})


def measure(
    project: Path, overrides: list[str], module: str, *arguments: str
) -> tuple[float, float, list[str]]:
    """Return the seconds and the GB that a module takes at most, and the lines it prints."""
    started = time.time()
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, module, *arguments, *overrides],
        cwd=project,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "GROWTH_STARTED": str(started)}
        | {"BERT_LATENCY_LOCKS": str(project)},  # this process has the machine's own lock
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    seconds = time.time() - started
    if done.returncode:
        raise InputError(f"python -m {module} failed on made-up texts; its error is above")
    *printed, mb = done.stdout.splitlines()
    return seconds, float(mb) / 1e3, printed


def passes(overrides: list[str]) -> None:
    """Print the seconds of a text where it only passes through a model, by phase."""
    from stages.core.training.device import begin, bf16_wanted
    from stages.label import labeller

    settings = composed(overrides)
    device = begin(settings.device, processes=1)
    label = labeller(device, bf16=bf16_wanted(settings.bf16, device))
    texts = load_texts(LABELLED)["text"][:]
    texts = texts[:: max(1, len(texts) // SAMPLE)]
    label(texts[:1])
    costs = {"label": milliseconds(lambda: label(texts)) / len(texts)}
    texts = load_corpus()["test"]["text"][:SAMPLE]
    costs["evaluate, all variants"] = 0.0
    for variant in variants(settings.forms):
        with Worker(variant.name, variant.directory, settings.benchmark.threads) as worker:
            found = worker.ask("profile", texts=texts)
        costs["evaluate, all variants"] += (found["plain_ms"] + found["encode_ms"]) / len(texts)
    print(json.dumps({phase: ms / 1e3 for phase, ms in costs.items()}))


def first_steps(stage: str, steps: int, overrides: list[str]) -> None:
    """Begin a training; print how long its start took, and each of its first steps, in seconds."""
    from transformers import TrainerCallback, trainer

    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: object, **__: object) -> None:
            times.append(time.time())
            if len(times) > steps:
                self.on_train_end()

        def on_train_end(self, *_: object, **__: object) -> None:
            start = times[0] - float(os.environ["GROWTH_STARTED"])
            print(json.dumps([start, (times[-1] - times[0]) / max(1, len(times) - 1)]))
            raise SystemExit

    trainer.DEFAULT_CALLBACKS.append(Clock)
    import_module(f"stages.{stage}").run(composed(overrides))


def scores(overrides: list[str]) -> None:
    """Score random answers of every variant to the validation and the test texts."""
    settings, corpus, random = composed(overrides), load_corpus(), np.random.default_rng(0)
    names, found = label_names(corpus), {}
    for split in ("validation", "test"):
        labels = np.array(corpus[split]["label"][:])
        answers = {}
        for variant in variants(settings.forms):
            logits = random.normal(size=(len(labels), len(names))) + 2 * np.eye(len(names))[labels]
            answers[variant.name] = tabulate(corpus[split]["text"][:], labels, logits, names)
        found[split] = answers
    accuracies(found["test"], found["validation"], settings.report.quality)


def figure(table: pd.DataFrame) -> alt.LayerChart:
    """Return the seconds of each phase against the texts."""
    base = alt.Chart(table).encode(
        x=alt.X("texts:Q", title="texts (log)").scale(type="log"),
        y=alt.Y("seconds:Q", title="seconds (log)").scale(type="log"),
        color=alt.Color("phase:N", title=None, sort=None),
        strokeDash=alt.StrokeDash("extrapolated:N"),
    )
    chart = base.mark_line() + base.mark_circle(size=50, opacity=1)
    return chart.properties(**SIZE, title="Time against the number of texts")


def planned(table: pd.DataFrame) -> pd.DataFrame:
    """Return seconds and gb of each phase for PLANNED texts, on the line through the last two."""
    rows = {}
    for phase, found in table.groupby("phase", sort=False):
        before, last = found.sort_values("texts").tail(2)[["texts", "seconds", "gb"]].to_numpy()
        slope = (last - before) / (last[0] - before[0])
        rows[phase] = last + slope * (PLANNED - last[0])
    return pd.DataFrame.from_dict(rows, orient="index", columns=["texts", "seconds", "gb"])


def page(table: pd.DataFrame) -> str:
    """Return the page."""
    shown = pd.concat([table, planned(table).rename_axis("phase").reset_index()])
    cells = shown["seconds"].map(duration) + shown["gb"].map(", {:.1f} GB".format).where(
        shown["gb"].notna(), ""
    )
    rows = shown.assign(cells=cells).pivot_table("cells", "phase", "texts", "first", sort=False)
    rows.columns = [f"{texts:,.0f} texts" for texts in rows.columns]
    factors = ", ".join(map(str, FACTORS))
    return f"""# Growth

Time and peak memory at {factors} times the corpus, of made-up texts with its words and
lengths, all of them labelled; of these texts' clauses alone more are made. Phases without a memory
figure are extrapolated from {SAMPLE} texts, or from {STEPS} steps of training; the last column from
the two before it. {summary(describe([]))};
commit {commit()}; the command: `make growth`.

{markdown(rows.rename_axis("Phase").reset_index())}

![Time against the number of texts](growth.svg)

`prepare`, `augment` and the trainings hold all texts at once. Where that is more than the memory,
an engine that streams from disk has to take their place: Polars or DuckDB for the tables, a
streamed dataset for the training. The phases that pass texts through a model hold few at a time;
theirs is the time, which a GPU shortens (`device`).
"""


def duration(seconds: float) -> str:
    """Return seconds in the unit that suits them."""
    for unit, size in ("days", 86400), ("h", 3600), ("min", 60):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


PHASES: dict[str, Callable[[list[str]], None]] = {"passes": passes, "scores": scores}
PHASES |= {stage: partial(first_steps, stage, STEPS) for stage in ("finetune", "distill")}
PHASES["start"] = partial(first_steps, "finetune", 0)

if __name__ == "__main__":
    check_root()
    phase = PHASES.get(sys.argv[1]) if sys.argv[1:] else None
    if phase:
        phase(sys.argv[2:])
    else:
        print(f"growth: {run(sys.argv[1:])}")
