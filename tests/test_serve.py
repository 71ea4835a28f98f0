import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mosec.errors import ValidationError

from stages.core.engines.variant import Variant
from stages.predict import predict
from stages.serve import MAX_TEXTS, THREADS, VARIANT, Classify, Read
from tests.conftest import ROOT

TEXTS = ["good film", "a very bad plot", "the plot was fine", "bad"]


@pytest.fixture
def served(project: Callable, monkeypatch: pytest.MonkeyPatch) -> Classify:
    """Return what answers requests to the student in fp32, whose answers no batch changes."""
    monkeypatch.setenv(VARIANT, "student_onnx")
    monkeypatch.setenv(THREADS, "1")
    return Classify()


def test_answers_are_those_of_predict_in_any_batch(served: Classify) -> None:
    rows = predict(TEXTS, Variant("student", "onnx").directory, threads=1)
    expected = [{key: row[key] for key in ("label", "score")} for row in rows]
    assert served.forward(TEXTS) == expected
    served.max_batch_size = 3
    assert served.forward([TEXTS[:1], TEXTS[1:]]) == [expected[:1], expected[1:]]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("text", r'send \{"texts"'),
        ({"text": "good"}, r'send \{"texts"'),
        ({"texts": "good"}, r'send \{"texts"'),
        ({"texts": ["good", 1]}, r'send \{"texts"'),
        ({"texts": []}, "texts has no text, or an empty one"),
        ({"texts": ["good", " "]}, "texts has no text, or an empty one"),
        ({"texts": ["good"] * (MAX_TEXTS + 1)}, "texts has 65 texts; send 64 at most"),
    ],
)
def test_a_request_without_texts_is_refused(request_: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Read().forward(request_)


@pytest.fixture
def server(finished: Any) -> Iterator[tuple[subprocess.Popen, int]]:
    """Start a server on a free port, where few requests may wait; end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, f"{ROOT}/stages/serve.py", "--port", str(port), "--threads=1"]
    command += ["--variant=teacher_pytorch", "--batch=4", "--capacity=4"]
    process = subprocess.Popen(command, cwd=finished, env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        end = time.monotonic() + 60
        while ask(port, b'{"texts": ["good"]}')[0] != 200:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        yield process, port
    finally:
        process.kill()
        process.wait()


def ask(port: int, body: bytes) -> tuple[int, str]:
    """Return a request's status and answer; 0 where nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/classify", body)
        response = connection.getresponse()
        return response.status, response.read().decode()
    except ConnectionError:
        return 0, ""
    finally:
        connection.close()


@pytest.mark.slow
def test_clients_are_answered_refused_and_on_sigterm_still_answered(
    server: tuple[subprocess.Popen, int],
) -> None:
    process, port = server
    body = json.dumps({"texts": TEXTS}).encode()
    with ThreadPoolExecutor(4) as pool:
        answers = {*pool.map(lambda _: ask(port, body), range(40))}
    assert {status for status, _ in answers} == {200}
    (labels,) = {tuple(each["label"] for each in json.loads(text)) for _, text in answers}
    assert len(labels) == len(TEXTS)

    assert ask(port, b"no JSON")[0] == 400
    assert ask(port, b'{"texts": []}')[0] == 422
    assert ask(port, b" " * 1_100_000)[0] == 413

    long = json.dumps({"texts": ["good film " * 9] * MAX_TEXTS}).encode()
    with ThreadPoolExecutor(20) as pool:
        statuses = [status for status, _ in pool.map(lambda _: ask(port, long), range(40))]
    assert {*statuses} == {200, 429}, "what can't wait is refused at once"

    with ThreadPoolExecutor(3) as pool:
        accepted = [pool.submit(ask, port, long) for _ in range(3)]
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert [each.result()[0] for each in accepted] == [200] * 3
    assert process.wait(timeout=30) == 0
    assert ask(port, body)[0] == 0
