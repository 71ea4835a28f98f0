"""Serve the released model or a variant over HTTP: `python -m stages.serve`.

    curl -d '{"texts": ["A lovely film."]}' http://127.0.0.1:8000/classify

Not a stage. mosec does the serving: GET / says whether it is up, /metrics has its figures for
Prometheus. One process reads requests and another answers them, so that a rejected request does not
fail its batch.
"""

import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from mosec import Server, Worker
from mosec.args import is_port_available
from mosec.errors import DecodingError, ValidationError

from stages.core.launch.errors import InputError
from stages.core.launch.parse import positive
from stages.core.launch.paths import check_root
from stages.core.serving.answers import answering, measured_threads, model_directory

USAGE = 'send {"texts": ["a text", …]}'
MAX_TEXTS = 64  # of one request
MAX_BYTES = 1_000_000  # of one request
VARIANT, THREADS = "BERT_LATENCY_VARIANT", "BERT_LATENCY_THREADS"  # for its processes
TIMEOUT_SECONDS = 120.0  # to start, to answer, to end


class Read(Worker):
    """Parses and validates requests."""

    serialize_ipc, deserialize_ipc = Worker.serialize, Worker.deserialize  # JSON, not pickle

    def deserialize(self, data: bytes) -> Any:
        """Return the JSON of a request's body.

        Raises:
            ValidationError: the body is not JSON.
        """
        try:
            return super().deserialize(data)
        except DecodingError as error:
            raise ValidationError(f"{USAGE}: the body is not JSON") from error

    def forward(self, data: dict[str, list[str]]) -> list[str]:
        """Return the texts of {"texts": [text, …]}.

        Raises:
            ValidationError: there are none, too many, or something else.
        """
        texts = data.get("texts") if isinstance(data, dict) else None
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValidationError(USAGE)
        if not texts or not all(text.strip() for text in texts):
            raise ValidationError("texts is empty or contains an empty text; remove it")
        if len(texts) > MAX_TEXTS:
            raise ValidationError(f"texts has {len(texts)} texts; send {MAX_TEXTS} at most")
        if any("\ud800" <= character <= "\udfff" for text in texts for character in text):
            raise ValidationError("texts holds a lone surrogate; send valid Unicode")
        return texts


class Classify(Worker):
    """Classifies the texts of a batch of requests."""

    serialize_ipc, deserialize_ipc = Worker.serialize, Worker.deserialize

    def __init__(self) -> None:
        super().__init__()
        directory = model_directory(os.environ[VARIANT] or None)
        self.answer = answering(directory, int(os.environ[THREADS]), every_length=True)

    def forward(self, data: Any) -> Any:
        """Return the answers to each of the requests; without batches, to the only one."""
        requests = data if self.max_batch_size > 1 else [data]
        answers = iter(self.answers([text for texts in requests for text in texts]))
        found = [[next(answers) for _ in texts] for texts in requests]
        return found if self.max_batch_size > 1 else found[0]

    def answers(self, texts: list[str]) -> list[dict[str, str | float]]:
        """Return the label of each text, and its probability."""
        size = self.max_batch_size
        return [
            {"label": label, "score": score}
            for start in range(0, len(texts), size)
            for label, score in self.answer(texts[start : start + size])
        ]


class Service(Server):
    """A server that knows when it ends by itself: mosec exits with 0 then, too."""

    failure: str | None = None

    def _terminate(self, signum: int, framestack: FrameType | str | None) -> None:
        if isinstance(framestack, str):  # mosec's own reason, rather than a signal's frame
            self.failure = framestack
        super()._terminate(signum, framestack)


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen, int]]:
    """Serve on a free port, with the command line's arguments; yield the process and the port.

    Raises:
        InputError: it ended, or does not answer within TIMEOUT_SECONDS.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", __name__, f"--port={port}", "--until-stdin-ends", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        end = time.monotonic() + TIMEOUT_SECONDS
        while ask(port, ["Are you up?"])[0] != http.client.OK:
            if process.poll() is not None or time.monotonic() > end:
                raise InputError(f"stages/serve.py {' '.join(arguments)} does not start; see above")
            time.sleep(0.1)
        yield process, port
    finally:
        process.terminate()
        with process:  # which closes its input and waits
            try:
                process.wait(timeout=TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def ask(port: int, texts: list[str]) -> tuple[int, Any]:
    """Return the status and the answers of a server on this machine; 0 where none listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        body = json.dumps({"texts": texts}, ensure_ascii=False).encode()
        connection.request("POST", "/classify", body)
        response = connection.getresponse()
        answer = response.read()
    except ConnectionError:
        return 0, None
    finally:
        connection.close()
    return response.status, json.loads(answer) if response.status == http.client.OK else answer


def end_with_stdin() -> None:
    """Wait until standard input ends, then end this process as SIGTERM does."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Parse the command line and serve until SIGTERM, then finish what was accepted."""
    parser = argparse.ArgumentParser(description="Serve a variant of the pipeline over HTTP.")
    parser.add_argument("--variant", help="such as teacher_pytorch; by default data/release")
    parser.add_argument("--address", default="127.0.0.1", help="0.0.0.0 serves other machines too")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--threads", type=positive, help="by default, as many as were measured")
    parser.add_argument(
        "--batch",
        type=positive,
        default=1,
        help="the most requests that are answered together; ONNX INT8 answers differ in a batch",
    )
    wait = "how long a request waits for others, if --batch is above 1"
    parser.add_argument("--wait-ms", type=positive, default=2, help=wait)
    parser.add_argument(
        "--capacity",
        type=positive,
        default=64,
        help="requests that may wait; more are refused (429)",
    )
    parser.add_argument(
        "--timeout-s", type=positive, default=60, help="seconds, after which a request gets a 408"
    )
    parser.add_argument(
        "--until-stdin-ends", action="store_true", help="end also when standard input does"
    )
    options = parser.parse_args()
    if not 0 < options.port < 2**16:
        parser.error(f"--port = {options.port}; give 1 to 65535")
    check_root()
    model_directory(options.variant)
    try:
        address = socket.gethostbyname(options.address)  # mosec takes no names
        available = is_port_available(address, options.port)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"--address = {options.address}: {error}; give an address of this machine"
        ) from error
    if not available:
        raise InputError(f"--port = {options.port} is in use; give another")
    sys.argv[1:] = [  # which mosec reads
        *(f"--address={address}", f"--port={options.port}", "--log-level=warning"),
        *(f"--capacity={options.capacity}", f"--timeout={1000 * options.timeout_s}"),
        f"--max-request-size={MAX_BYTES}",
    ]
    os.environ[VARIANT] = options.variant or ""
    os.environ[THREADS] = str(options.threads or measured_threads())
    if options.until_stdin_ends:  # as when the stage that started it ends, even by a kill
        threading.Thread(target=end_with_stdin, daemon=True).start()
    server = Service()
    server.append_worker(Read, route="/classify")
    server.append_worker(
        Classify, max_batch_size=options.batch, max_wait_time=options.wait_ms, route="/classify"
    )
    print(f"serve: http://{options.address}:{options.port}/classify", flush=True)
    server.run()
    if server.failure:
        raise InputError(f"{server.failure}; look above for an error, free some memory, or restart")


if __name__ == "__main__":
    main()
