"""The process that serves one variant to the benchmark, and the benchmark's end of its pipes.

`python -m stages.core.measuring.worker <directory> <threads>` reads one request a line from
standard input and answers each with one line on standard output, both JSON, until the input ends.
It imports little, so that its peak memory is the variant's.
"""

import gc
import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.engines.classifier import classify, encode, load_classifier, load_tokenizer
from stages.core.launch.errors import InputError
from stages.core.launch.paths import variant_directory

REST_SECONDS = 2.0
Request = dict[str, Any]
Answer = dict[str, Any]
Ask = Callable[[Request], Answer]  # one turn of one variant; `serve` says what is in it


class Worker:
    """A process that serves one variant, from its start to the end of the context.

    Attributes:
        loaded: what it told when it had loaded the variant.
        process: the process.
    """

    def __init__(self, name: str, variant: str, threads: int) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(variant_directory(variant)), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"RAYON_NUM_THREADS": str(threads)},  # the tokenizer's
        )
        self.loaded = self._receive()

    def ask(self, request: Request) -> Answer:
        """Send a request and block until its answer; raise InputError if the process died."""
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
        except BrokenPipeError as error:
            raise self._died() from error
        return self._receive()

    def _receive(self) -> Answer:
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise self._died()
        return json.loads(line)

    def _died(self) -> InputError:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=10)  # so that its error stands above ours
        return InputError(
            f"the process that serves {self.name} died; look above for its error, then run again"
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def serve(directory: Path, threads: int) -> None:
    """Load the variant in `directory`, tell how that went, then answer requests.

    A request holds `batches` (lists of texts), `tokens` (where to cut them; 0: where the model
    does), `quantity` (what to time: `model`, from token ids to logits, or `label`, from text to
    label), `warmup` (untimed calls) and `seconds` (the least time to go on). Its answer holds the
    `ms` of each call, the `tokens` of the longest text, the share of `padding`, and `peak_mb`.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no answer

    def answer(value: dict[str, Any]) -> None:
        print(json.dumps(value), file=answers, flush=True)

    started = time.perf_counter()
    classifier = load_classifier(directory, threads)
    tokenizer = load_tokenizer(directory)
    load_ms = (time.perf_counter() - started) * 1e3
    model_limit = tokenizer.truncation["max_length"]
    first_call_ms = milliseconds(partial(classify, classifier, tokenizer, ["A first call."]))
    rest()
    answer(
        {
            "threads": classifier.threads,
            "cores": sorted(os.sched_getaffinity(0)),
            "positions": classifier.positions,
            "load_ms": round(load_ms, 1),
            "first_call_ms": round(first_call_ms, 2),
        }
    )
    gc.freeze()  # what is loaded stays, and need not be looked at again
    gc.disable()
    for line in sys.stdin:
        request = json.loads(line)
        tokenizer.enable_truncation(request["tokens"] or model_limit)
        inputs = [encode(tokenizer, batch) for batch in request["batches"]]
        calls: list[Callable[[], object]] = (
            [partial(classifier.logits, encoded) for encoded in inputs]
            if request["quantity"] == "model"
            else [partial(classify, classifier, tokenizer, batch) for batch in request["batches"]]
        )
        mask = np.concatenate([encoded["attention_mask"].ravel() for encoded in inputs])
        gc.collect()  # in this variant's own turn, and not beside the next one's
        taken = timed(calls, request["warmup"], request["seconds"])
        rest()
        answer(
            {
                "ms": taken,
                "tokens": max(encoded["input_ids"].shape[1] for encoded in inputs),
                "padding": round(1 - float(mask.mean()), 4),
                "peak_mb": peak_mb(),
            }
        )


def timed(calls: list[Callable[[], object]], warmup: int, seconds: float) -> list[float]:
    """Return the milliseconds of each of `calls`, all of them again until `seconds` have passed."""
    for call in itertools.islice(itertools.cycle(calls), warmup):
        call()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while not taken or time.perf_counter() < end:
        taken.extend(milliseconds(call) for call in calls)
    return taken


def milliseconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - started) / 1e6


def rest() -> None:
    """Sleep until this process's threads do.

    ONNX Runtime's spin for 40 ms after the last call, on a core that the next variant needs: one
    call in fifty of that one would last a scheduler's time slice of 4 ms longer.

    Raises:
        InputError: they are still busy after two seconds.
    """
    busy = time.process_time()
    end = time.perf_counter() + REST_SECONDS
    while True:
        time.sleep(0.005)
        if time.perf_counter() > end:
            raise InputError(
                f"threads are busy {REST_SECONDS:g} s after the last call, beside what is timed "
                f"next; do OMP_WAIT_POLICY or KMP_BLOCKTIME tell them to? Unset them"
            )
        before, busy = busy, time.process_time()
        if busy - before < 0.001:
            return


def peak_mb() -> float:
    """Return the most memory that this program has had, in MB (getrusage counts its parent's)."""
    status = Path("/proc/self/status").read_text()
    kibibytes = re.search(r"VmHWM:\s+(\d+) kB", status)
    return round(int(kibibytes[1]) * 1024 / 1e6, 1) if kibibytes else float("nan")


if __name__ == "__main__":
    try:
        serve(Path(sys.argv[1]), int(sys.argv[2]))
    except InputError as error:
        sys.exit(f"worker: {error}")
