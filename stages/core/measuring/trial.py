"""A loaded variant under MLPerf's load generator (Reddi et al., 2020).

SingleStream sends a request when the last one is answered, Server at random times (a Poisson
process), Offline all at once. A latency counts from a request's arrival, waiting included.
"""

import json
import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Literal

import mlperf_loadgen as lg

Scenario = Literal["SingleStream", "Server", "Offline"]
LOG = "mlperf_log_detail.txt"  # one JSON object per line, after a prefix
RATES = {  # where the log has the requests a second that were answered
    "SingleStream": "result_qps_with_loadgen_overhead",
    "Offline": "result_samples_per_second",
}


@dataclass(frozen=True)
class Trial:
    """The requests of one trial, and how they are served."""

    scenario: Scenario
    rate: float  # requests a second: to send (Server), or at least what it answers
    seconds: float
    batch: int  # the most requests that are answered together
    wait_ms: float  # how long the first one of a batch waits for others, at most
    percentile: int  # of the latency: 50, 95 or 99
    seed: int


def run_trial(
    answer: Callable[[list[str]], object], texts: list[str], trial: Trial, threads: int = 1
) -> dict[str, Any]:
    """Return rate (requests a second), requests, and ms (the percentile of their latencies).

    The rate is that of the answers or, in Server, the one at which requests are sent. `calls` are
    those of `answer`, in `threads` threads: how many requests each answered, and its ms.
    """
    waiting: SimpleQueue[lg.QuerySample | None] = SimpleQueue()
    calls: list[tuple[int, float]] = []

    def receive(samples: list[lg.QuerySample]) -> None:
        for sample in samples:
            waiting.put(sample)

    def serve() -> None:
        try:
            while samples := collect(waiting, trial.batch, trial.wait_ms / 1e3):
                started = time.perf_counter_ns()
                answer([texts[sample.index] for sample in samples])
                lg.QuerySamplesComplete([lg.QuerySampleResponse(s.id, 0, 0) for s in samples])
                calls.append((len(samples), (time.perf_counter_ns() - started) / 1e6))
        except Exception:
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
            os._exit(1)  # the load generator would wait for the answers for ever

    servers = [threading.Thread(target=serve) for _ in range(threads)]
    for server in servers:
        server.start()
    system = lg.ConstructSUT(receive, lambda: None)
    library = lg.ConstructQSL(len(texts), len(texts), lambda _: None, lambda _: None)
    try:
        with tempfile.TemporaryDirectory() as directory:
            log = lg.LogSettings()
            log.log_output.outdir = directory
            log.log_output.copy_summary_to_stdout = False
            log.enable_trace = False
            lg.StartTestWithLogSettings(system, library, _settings(trial), log)
            found = _results(Path(directory) / LOG)
    finally:
        for _ in servers:
            waiting.put(None)
        for server in servers:
            server.join()
        lg.DestroyQSL(library)
        lg.DestroySUT(system)
    return {
        "rate": found[RATES[trial.scenario]] if trial.scenario in RATES else trial.rate,
        # An Offline query holds all of them.
        "requests": found.get("effective_samples_per_query", 1) * found["result_query_count"],
        "ms": found[f"result_{trial.percentile}.00_percentile_latency_ns"] / 1e6,
        "calls": calls,
    }


def collect(waiting: "SimpleQueue[Any]", batch: int, wait: float) -> list[Any]:
    """Return the next batch: up to `batch` requests that arrive within `wait` seconds of the first.

    It is empty at the end of the trial, when None comes.
    """
    first = waiting.get()
    collected = [] if first is None else [first]
    deadline = time.perf_counter() + wait
    while 0 < len(collected) < batch:
        try:
            collected.append(waiting.get(timeout=max(0.0, deadline - time.perf_counter())))
        except Empty:
            break
    return collected


def _settings(trial: Trial) -> lg.TestSettings:
    settings = lg.TestSettings()
    settings.scenario = getattr(lg.TestScenario, trial.scenario)
    settings.mode = lg.TestMode.PerformanceOnly
    settings.schedule_rng_seed = settings.sample_index_rng_seed = trial.seed
    settings.qsl_rng_seed = trial.seed
    if trial.scenario == "Server":
        settings.server_target_qps = trial.rate
        # Fixed, because the load generator otherwise goes on until the tail is statistically
        # significant; at least two, to have an interval.
        settings.min_query_count = max(2, math.ceil(trial.rate * trial.seconds))
        settings.max_query_count = settings.min_query_count
        settings.min_duration_ms = 0
    else:
        settings.min_query_count = trial.batch  # in Offline, the fewest requests
        settings.min_duration_ms = math.ceil(trial.seconds * 1e3)
        settings.offline_expected_qps = trial.rate
        settings.single_stream_expected_latency_ns = math.ceil(1e9 / trial.rate)
    return settings


def _results(log: Path) -> dict[str, Any]:
    lines = (json.loads(line.split(" ", 1)[1]) for line in log.read_text().splitlines())
    return {line["key"]: line["value"] for line in lines}
