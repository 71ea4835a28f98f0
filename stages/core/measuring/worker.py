"""The process that serves one variant to a measurement, and the measurement's end of its pipes.

`python -m stages.core.measuring.worker <directory> <threads>` reads one request a line from
standard input, [function, arguments], and answers each with one line on standard output, both JSON,
until the input ends. It imports little, so that its peak memory is the variant's.
"""

import gc
import itertools
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tokenizers import Tokenizer

from stages.core.engines import WARMUP, load_engine, milliseconds
from stages.core.launch.errors import InputError
from stages.core.serving.answers import classify, warm_up
from stages.core.serving.classifier import Classifier, encode, load_classifier, load_tokenizer
from stages.core.serving.variant import Manifest

REST_SECONDS = 2.0
ANSWER_SECONDS = 600.0  # a turn takes seconds, a large batch on a slow machine a minute
Answer = dict[str, Any]
Load = Callable[[Path, int], Classifier]  # a directory, on so many threads
Ask = Callable[..., Answer]  # the name of one of a worker's functions, and its arguments


class Worker:
    """A process that serves one variant until the context ends.

    Raises:
        InputError: it could not load the variant, or the engine ignores the number of threads.
    """

    def __init__(self, name: str, directory: Path, threads: int, module: str = __name__) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, str(directory), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        used = self._receive()["threads"]
        if used != threads:
            self.process.kill()
            self.process.wait()
            raise InputError(
                f"{name} runs on {used} threads, not on the {threads} that are set; its engine "
                "ignores the setting"
            )

    def ask(self, function: str, **arguments: Any) -> Answer:
        """Call `turn`, `trial` or `profile` there and block until its answer.

        Raises:
            InputError: the process ended, or gave no answer within ANSWER_SECONDS.
        """
        try:
            print(json.dumps([function, arguments]), file=self.process.stdin, flush=True)
        except BrokenPipeError as error:
            raise self._ended() from error
        return self._receive()

    def _receive(self) -> Answer:
        # The pipe never holds more than the one answer, so that no line waits in our own buffer.
        assert self.process.stdout  # noqa: S101 it is a pipe
        if not select.select([self.process.stdout], [], [], ANSWER_SECONDS)[0]:
            self.process.kill()
            raise InputError(
                f"the process that serves {self.name} did not answer in {ANSWER_SECONDS:g} s and "
                "was killed; run again, on a slow machine with shorter benchmark.sweep.lengths, "
                "less load.seconds or fewer profile.texts"
            )
        line = self.process.stdout.readline()
        if not line:
            raise self._ended()
        return json.loads(line)

    def _ended(self) -> InputError:
        status = self.process.wait(timeout=ANSWER_SECONDS)  # its own error stands above ours
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else "failed"
        remedy = "free some memory" if status == -signal.SIGKILL else "look above for its error"
        return InputError(f"the process that serves {self.name} {how}; {remedy}, then run again")

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def serve(directory: Path, threads: int, load: Load = load_classifier) -> None:
    """Load the variant in `directory`, answer once with its threads, then answer requests."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # keeps libraries' output out of the answers

    def answer(value: Answer) -> None:
        print(json.dumps(value), file=answers, flush=True)

    classifier = load(directory, threads)
    tokenizer = load_tokenizer(directory)
    functions: dict[str, Callable[..., Answer]] = {
        "turn": partial(turn, classifier, tokenizer, tokenizer.truncation["max_length"]),
        "trial": partial(trial, classifier, tokenizer),
        "profile": partial(profile, directory, classifier, tokenizer),
    }
    warm_up(classifier, tokenizer)  # as a server does
    rest()
    answer({"threads": classifier.threads})
    gc.freeze()  # loaded objects stay, and need no collector
    gc.disable()
    for line in sys.stdin:
        function, arguments = json.loads(line)
        answer(functions[function](**arguments))


def turn(
    classifier: Classifier,
    tokenizer: Tokenizer,
    limit: int,
    *,
    batches: list[list[str]],
    tokens: int,
    quantity: Literal["model", "label"],
    warmup: int,
    seconds: float,
) -> Answer:
    """Time the calls of one turn in the benchmark, one for each of `batches`.

    Texts are cut at `tokens`; 0: at `limit`, where the model does. A call covers token ids to
    logits (`quantity` model) or text to label (label); calls are timed after `warmup` others, for
    at least `seconds`. The answer holds the `ms` of each call, the `tokens` of the longest text,
    the share of `padding`, and `peak_mb`.
    """
    tokenizer.enable_truncation(tokens or limit)
    inputs = [encode(tokenizer, batch) for batch in batches]
    calls: list[Callable[[], object]] = (
        [partial(classifier.logits, encoded) for encoded in inputs]
        if quantity == "model"
        else [partial(classify, classifier, tokenizer, batch) for batch in batches]
    )
    mask = np.concatenate([encoded["attention_mask"].ravel() for encoded in inputs])
    gc.collect()  # in this variant's own turn, and not beside the next one's
    taken = timed(calls, warmup, seconds)
    rest()
    return {
        "ms": taken,
        "tokens": max(encoded["input_ids"].shape[1] for encoded in inputs),
        "padding": round(1 - float(mask.mean()), 4),
        "peak_mb": peak_mb(),
    }


def trial(
    classifier: Classifier, tokenizer: Tokenizer, *, texts: list[str], **settings: Any
) -> Answer:
    """Return the result of `run_trial`; `settings` are the fields of its `Trial`."""
    from stages.core.measuring.trial import Trial, run_trial  # or else it adds to peak_mb

    return run_trial(partial(classify, classifier, tokenizer), texts, Trial(**settings))


def profile(
    directory: Path, classifier: Classifier, tokenizer: Tokenizer, *, texts: list[str]
) -> Answer:
    """Profile the calls of one text each with the engine's own profiler.

    The answer holds `operators` (name, kind, calls and milliseconds in all), and the milliseconds
    of all calls under the profiler (`profiled_ms`), without it (`plain_ms`), and of encoding
    (`encode_ms`).
    """
    encode_ms = milliseconds(lambda: [encode(tokenizer, [text]) for text in texts])
    inputs = [encode(tokenizer, [text]) for text in texts]
    for encoded in inputs[:WARMUP]:
        classifier.logits(encoded)
    plain_ms = milliseconds(lambda: [classifier.logits(encoded) for encoded in inputs])
    engine = load_engine(Manifest.read(directory).engine)
    kinds = {name: kind for kind, names in engine.OPERATORS.items() for name in names}
    operators, profiled_ms = engine.profile(directory, inputs, classifier.threads)
    return {
        "operators": [
            (name, kinds.get(name, "overhead"), calls, ms) for name, calls, ms in operators
        ],
        "profiled_ms": profiled_ms,
        "plain_ms": plain_ms,
        "encode_ms": encode_ms,
    }


def timed(calls: list[Callable[[], object]], warmup: int, seconds: float) -> list[float]:
    """Return the milliseconds of each of `calls`, all of them again until `seconds` have passed."""
    for call in itertools.islice(itertools.cycle(calls), warmup):
        call()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while not taken or time.perf_counter() < end:
        taken.extend(milliseconds(call) for call in calls)
    return taken


def rest() -> None:
    """Wait until this process's threads are idle; InputError if that takes two seconds.

    ONNX Runtime's threads spin for 40 ms after a call; on a core that the next variant needs, one
    in fifty of its calls would take a scheduler's time slice, 4 ms, longer.
    """
    busy = time.process_time()
    end = time.perf_counter() + REST_SECONDS
    while True:
        time.sleep(0.005)
        if time.perf_counter() > end:
            raise InputError(
                f"threads are still busy {REST_SECONDS:g} s after the last call and would disturb "
                f"the next variant; unset OMP_WAIT_POLICY and KMP_BLOCKTIME"
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
    serve(Path(sys.argv[1]), int(sys.argv[2]))
