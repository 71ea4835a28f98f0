import re
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
from mosec.errors import ValidationError

from stages.core.launch.errors import InputError
from stages.core.serving.variant import Variant
from stages.predict import predict
from stages.serve import MAX_TEXTS, THREADS, VARIANT, Classify, Read, ask, main, serving

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
        ({"texts": []}, "texts is empty or contains an empty text"),
        ({"texts": ["good", " "]}, "texts is empty or contains an empty text"),
        ({"texts": ["good"] * (MAX_TEXTS + 1)}, "texts has 65 texts; send 64 at most"),
        ({"texts": ["good", "\ud83d film"]}, "texts holds a lone surrogate"),
    ],
)
def test_a_request_without_texts_is_refused(request_: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Read().forward(request_)


def test_a_body_that_is_no_json_is_refused() -> None:
    with pytest.raises(ValidationError, match=r'send \{"texts".*not JSON'):
        Read().deserialize(b"{texts: good}")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--port=70000", r"--port = 70000; give 1 to 65535"),
        ("--address=no.such.invalid", r"--address = no\.such\.invalid: .*; give an address"),
        ("--capacity=0", r"--capacity: 0; give a whole number of 1 or more"),
    ],
)
def test_an_option_that_can_not_be_is_refused(
    project: Callable,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    option: str,
    message: str,
) -> None:
    monkeypatch.setattr("sys.argv", ["serve", "--variant=student_onnx", option])
    with pytest.raises((SystemExit, InputError)) as refused:
        main()
    assert re.search(message, f"{refused.value}{capsys.readouterr().err}")


@pytest.mark.slow
def test_clients_are_answered_refused_and_on_sigterm_still_answered(project: Callable) -> None:
    arguments = ("--variant=teacher_pytorch", "--threads=1", "--batch=4", "--capacity=4")
    long = ["good film " * 9] * MAX_TEXTS
    with serving(*arguments) as (process, port), ThreadPoolExecutor(20) as pool:
        answers = [ask(port, TEXTS) for _ in range(3)]
        assert {status for status, _ in answers} == {200}
        assert all(answer == answers[0][1] for _, answer in answers)
        assert len(answers[0][1]) == len(TEXTS)

        assert ask(port, [])[0] == 422
        assert ask(port, ["x" * 1_100_000])[0] == 413

        statuses = [status for status, _ in pool.map(lambda _: ask(port, long), range(40))]
        assert {*statuses} == {200, 429}, "what can't wait is refused at once"

        accepted = [pool.submit(ask, port, long) for _ in range(3)]
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert [each.result()[0] for each in accepted] == [200] * 3
        assert process.wait(timeout=30) == 0
        assert ask(port, TEXTS) == (0, None)


@pytest.mark.slow
def test_a_server_ends_with_what_holds_it(project: Callable) -> None:
    with serving("--variant=student_int8", "--threads=1") as (process, _):
        assert process.stdin
        process.stdin.close()
        assert process.wait(timeout=30) == 0


@pytest.mark.slow
def test_a_server_whose_model_dies_fails_with_the_reason(
    project: Callable, capfd: pytest.CaptureFixture
) -> None:
    options = ("--variant=student_int8", "--threads=1", "--address=localhost")
    with serving(*options) as (process, _):
        for child in psutil.Process(process.pid).children():
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()
        assert process.wait(timeout=30) == 1
    assert "workers exited" in capfd.readouterr().err


def test_a_server_that_does_not_start_is_named(empty: Callable) -> None:
    with (
        pytest.raises(InputError, match=r"serve\.py --variant=student_int8 does not start"),
        serving("--variant=student_int8"),
    ):
        pass
