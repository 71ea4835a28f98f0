"""The process that serves one variant to the benchmark."""

import gc
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

from stages.core.inference import encode, load_classifier, load_tokenizer

SETTLE_SECONDS = 0.01  # the variant before leaves its threads spinning for about a millisecond


def serve(connection: Connection, directory: Path, threads: int, max_length: int) -> None:
    """Load a variant, tell how that went, then time calls until the connection closes.

    Sends first {"threads", "load_ms", "first_call_ms"}; then, for each request (texts to warm up
    with, texts to time), the milliseconds from token ids to logits of each timed text.
    """
    os.environ["RAYON_NUM_THREADS"] = str(threads)  # the tokenizer's
    started = time.perf_counter()
    classifier = load_classifier(directory, threads)
    load_ms = (time.perf_counter() - started) * 1e3
    tokenizer = load_tokenizer(directory)

    def timed(texts: list[str]) -> list[float]:
        requests = [encode(tokenizer, [text], max_length) for text in texts]
        milliseconds = []
        for inputs in requests:
            started = time.perf_counter_ns()
            classifier.logits(inputs)
            milliseconds.append((time.perf_counter_ns() - started) / 1e6)
        return milliseconds

    connection.send(
        {
            "threads": classifier.threads,
            "load_ms": round(load_ms, 1),
            "first_call_ms": round(timed(["A first call."])[0], 2),
        }
    )
    gc.freeze()  # what is loaded stays, and need not be looked at again
    gc.disable()
    while True:
        try:
            warmup, texts = connection.recv()
        except EOFError:
            return
        gc.collect()  # here, in this variant's own turn, and not beside the next one's
        time.sleep(SETTLE_SECONDS)
        timed(warmup)
        connection.send(timed(texts))
