"""Find how many requests a second each variant answers within the SLA.

A request that arrives while another is answered waits, so a variant misses the SLA before its
cores are saturated. The rate follows from what the benchmark's calls took (`measuring.queueing`),
and a trial at that rate shows whether it holds: MLPerf's load generator sends requests, in a
process of its own for each variant; to the HTTP server, it sends them from this one.
"""

import http.client
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.core.launch.atomic import atomic_file
from stages.core.launch.command import launch
from stages.core.launch.errors import InputError
from stages.core.launch.paths import REPORTS
from stages.core.launch.settings import CONTROL, Settings
from stages.core.measuring import queueing
from stages.core.measuring.conditions import Clocks, disturbances
from stages.core.measuring.samples import load_samples, of_measure
from stages.core.measuring.trial import Scenario, Trial, run_trial
from stages.core.measuring.worker import Answer, Worker
from stages.core.serving.variant import variants
from stages.core.text.corpus import load_corpus
from stages.serve import TIMEOUT_SECONDS, ask, serving

Row = dict[str, Any]
# Runs a trial of a scenario, rate, batch and seconds; returns its row, and the ms of its calls.
Attempt = Callable[[Scenario, float, int, float], tuple[Row, list[float]]]
CLIENTS = 32  # of the server at once, fewer than it lets wait
MOST = 10_000.0  # requests a second, above any variant's; a lower guess ends the trial early
BRIEF = 0.25  # of load.seconds: how long batches of each size are timed
LONG = 3  # times load.seconds: how long requests come at the rate that is found
SHARES = np.linspace(0.05, 0.95, 19)  # of the rate that saturates a variant: the curve's points


def run(config: Settings) -> str:
    """Write reports/load.csv: what each variant answers at most, and within the SLA.

    Columns: variant, batch (the most requests that are answered together), scenario (MLPerf's, or
    Replay: a point of the curve), rate (requests a second; in Server, the highest within the SLA by
    the replays), low and high (its interval), requests, ms (the percentile report.sla_percentile of
    their latency), http (whether by stages/serve.py, as the fastest variant is besides), those of
    `disturbances`.
    """
    texts = load_corpus()["test"]["text"][:]
    served = variants(config.forms)
    samples = of_measure(load_samples([variant.name for variant in served]), "test_label")
    tables = []
    before = Clocks.read([])
    for variant in tqdm(served, desc="load", unit="variant", disable=None):
        with Worker(variant.name, variant.directory, config.benchmark.threads) as worker:
            tried = partial(attempt, by_worker(worker, texts), config)
            alone = samples["ms"][samples["variant"] == variant.name].tolist()
            rows = search(tried, alone, (1, config.load.batch), config)
            tables.append(pd.DataFrame(rows).assign(variant=variant.name, http=False))
    means = samples.groupby("variant", observed=True)["ms"].mean()
    fastest = means.drop(CONTROL).idxmin()
    options = (f"--variant={fastest}", f"--threads={config.benchmark.threads}")
    with serving(*options) as (_, port):
        by_http = partial(run_trial, partial(post, port), texts, threads=CLIENTS)
        tried = partial(attempt, by_http, config)
        row, calls = tried("SingleStream", MOST, 1, config.load.seconds)
        table = pd.DataFrame([row, *search(tried, calls, (1,), config)])
        tables.append(table.assign(variant=fastest, http=True))
    disturbed = disturbances(before, Clocks.read([]))
    load = pd.concat(tables, ignore_index=True)
    file = REPORTS / "load.csv"
    columns = ["variant", "batch", "scenario", "rate", "low", "high", "requests", "ms", "http"]
    with atomic_file(file) as part:
        load.reindex(columns=columns).round(4).assign(**disturbed).to_csv(part, index=False)
    most = load.query("scenario == 'Offline'")["rate"].max()
    return f"{file}: up to {most:.3g} texts a second, offline"


def search(
    attempt: Attempt, alone: list[float], batches: Sequence[int], config: Settings
) -> Iterator[Row]:
    """Yield what a variant answers at most, and within the SLA, for each batch.

    The latter only as far as it meets the SLA without load. `alone` are the ms of single requests.
    """
    settings, constraints = config.load, config.report
    times = {1: alone}
    most, meets = 1e3 / float(np.mean(alone)), True
    for batch in batches:
        if batch > 1:
            row, _ = attempt("Offline", most, batch, settings.seconds)
            yield row
        if not meets:
            continue
        for size in sizes(batch):
            # The second time, so that the engine has computed the shapes before: the same texts.
            for _ in range(2):
                _, times[size] = attempt("Offline", most, size, BRIEF * settings.seconds)
        yield from curve(times, batch, config)
        rates = queueing.sustained(
            times, settings.wait_ms, constraints.sla_percentile, constraints.sla_ms
        )
        low, rate, high = np.percentile(rates, [2.5, 50, 97.5])
        meets = rate * settings.seconds >= 1  # or else no request may come in the trial
        if meets:
            row, _ = attempt("Server", rate, batch, LONG * settings.seconds)
            yield row | {"low": low, "high": high}


def sizes(batch: int) -> list[int]:
    """Return the sizes above 1 that are timed, up to a batch: powers of two, and its own."""
    return sorted({2**power for power in range(1, batch.bit_length())} | {batch} - {1})


def curve(times: queueing.Times, batch: int, config: Settings) -> Iterator[Row]:
    """Yield the latency by replays, at rates up to nearly the one that saturates the variant."""
    for rate in SHARES * queueing.saturation(times):
        ms = queueing.latencies(times, config.load.wait_ms, rate)
        late = np.percentile(ms, config.report.sla_percentile)
        yield {"batch": batch, "scenario": "Replay", "rate": rate, "requests": len(ms), "ms": late}


def attempt(
    answer: Callable[[Trial], Answer],
    config: Settings,
    scenario: Scenario,
    rate: float,
    batch: int,
    seconds: float,
) -> tuple[Row, list[float]]:
    """Run one trial; return its row, and the ms of its calls that answered `batch` requests."""
    trial = Trial(
        scenario=scenario,
        rate=rate,
        seconds=seconds,
        batch=batch,
        wait_ms=config.load.wait_ms,
        percentile=config.report.sla_percentile,
        seed=config.seed,
    )
    answered = answer(trial)
    times = [ms for size, ms in answered.pop("calls") if size == batch]
    return {"batch": batch, "scenario": scenario} | answered, times


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
