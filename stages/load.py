"""Find how many requests a second each variant answers within the SLA.

A request that arrives while another is answered waits, so a variant misses the SLA before its
cores are saturated. MLPerf's load generator sends the requests and takes the times, in a process
of its own for each variant; to the HTTP server, it sends them from this one.
"""

import http.client
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import pandas as pd
from tqdm import tqdm

from stages.core.launch.atomic import atomic_file
from stages.core.launch.command import launch
from stages.core.launch.errors import InputError
from stages.core.launch.paths import REPORTS
from stages.core.launch.settings import LoadConfig, ReportConfig, Settings
from stages.core.measuring.conditions import Clocks, disturbances
from stages.core.measuring.trial import Scenario, Trial, run_trial
from stages.core.measuring.worker import Answer, Worker
from stages.core.serving.variant import variants
from stages.core.text.corpus import load_corpus
from stages.serve import TIMEOUT_SECONDS, ask, serving

Row = dict[str, Any]
Attempt = Callable[[Scenario, float, int], Row]  # of a scenario, rate and batch
CLIENTS = 32  # of the server at once, fewer than it lets wait
MOST = 10_000.0  # requests a second, above any variant's; a lower guess ends the trial early


def run(config: Settings) -> str:
    """Write reports/load.csv, one row per trial.

    Columns: variant, batch (the most requests that are answered together), scenario (MLPerf's),
    rate (requests a second), requests, ms (the percentile report.sla_percentile of their latency),
    http (whether by stages/serve.py, as the fastest variant is besides), those of `disturbances`.
    """
    texts = load_corpus()["test"]["text"][:]
    tables = []
    before = Clocks.read([])
    for variant in tqdm(variants(config.forms), desc="load", unit="variant", disable=None):
        with Worker(variant.name, variant.directory, config.benchmark.threads) as worker:
            tried = partial(attempt, by_worker(worker, texts), config)
            rows = search(tried, config.load, config.report)
            tables.append(pd.DataFrame(rows).assign(variant=variant.name, http=False))
    alone = pd.concat(tables).query("scenario == 'SingleStream'").set_index("variant")["rate"]
    fastest = str(alone.idxmax())
    options = (f"--variant={fastest}", f"--threads={config.benchmark.threads}")
    with serving(*options) as (_, port):
        by_http = partial(run_trial, partial(post, port), texts, threads=CLIENTS)
        tried = partial(attempt, by_http, config)
        rows = bisect(tried, alone.max(), 1, config.load.steps, config.report)
        tables.append(pd.DataFrame(rows).assign(variant=fastest, http=True))
    disturbed = disturbances(before, Clocks.read([]))
    load = pd.concat(tables, ignore_index=True)
    file = REPORTS / "load.csv"
    columns = ["variant", "batch", "scenario", "rate", "requests", "ms", "http"]
    with atomic_file(file) as part:
        load[columns].round(4).assign(**disturbed).to_csv(part, index=False)
    most = load.loc[load["rate"].idxmax()]
    return f"{file}: {most['variant']} answers up to {most['rate']:.3g} texts a second"


def search(attempt: Attempt, settings: LoadConfig, constraints: ReportConfig) -> Iterator[Row]:
    """Yield the trials of a variant: first what it answers at most, then the rates below that.

    None of these, if it misses the SLA without load.
    """
    alone = attempt("SingleStream", MOST, 1)
    together = attempt("Offline", alone["rate"], settings.batch)
    yield from (alone, together)
    if alone["ms"] > constraints.sla_ms:
        return
    for most in (alone, together):
        yield from bisect(attempt, most["rate"], most["batch"], settings.steps, constraints)


def bisect(
    attempt: Attempt, most: float, batch: int, steps: int, constraints: ReportConfig
) -> Iterator[Row]:
    """Yield trials of rates below `most`, by bisection.

    The first is report.requests_per_second, if that is set and below `most`.
    """
    met, missed = 0.0, most
    wanted = constraints.requests_per_second or most
    for step in range(steps):
        rate = wanted if step == 0 and wanted < most else (met + missed) / 2
        tried = attempt("Server", rate, batch)
        yield tried
        met, missed = (rate, missed) if tried["ms"] <= constraints.sla_ms else (met, rate)


def attempt(
    answer: Callable[[Trial], Answer], config: Settings, scenario: Scenario, rate: float, batch: int
) -> Row:
    """Run one trial and return its row."""
    trial = Trial(
        scenario=scenario,
        rate=rate,
        seconds=config.load.seconds,
        batch=batch,
        wait_ms=config.load.wait_ms,
        percentile=config.report.sla_percentile,
        seed=config.seed,
    )
    return {"batch": batch, "scenario": scenario} | answer(trial)


def by_worker(worker: Worker, texts: list[str]) -> Callable[[Trial], Answer]:
    """Return a function that tries the variant which a worker has loaded."""
    return lambda trial: worker.ask("trial", texts=texts, **asdict(trial))


def post(port: int, texts: list[str]) -> None:
    """Ask a server.

    Raises:
        InputError: it does not answer, or refuses.
    """
    try:
        status, answer = ask(port, texts)
    except TimeoutError as error:
        raise InputError(
            f"stages/serve.py did not answer within {TIMEOUT_SECONDS:g} s; run again"
        ) from error
    if status != http.client.OK:
        raise InputError(f"stages/serve.py answered a request with {status}: {answer}")


if __name__ == "__main__":
    launch(run, alone=True)
