import itertools
import signal
from collections.abc import Callable
from typing import Any

import pytest

from stages.core.launch.errors import InputError
from stages.core.measuring import worker
from stages.core.measuring.worker import Worker, rest, timed
from stages.core.serving.variant import Variant

INT8 = Variant("student", "int8").directory
REQUEST: dict[str, Any] = {
    "batches": [["good film"], ["a very bad plot", "a"]],
    "tokens": 0,
    "quantity": "label",
    "warmup": 1,
    "seconds": 0,
}


def test_a_turn_goes_on_until_its_time_is_over(project: Callable) -> None:
    with Worker("student int8", INT8, 1) as process:
        once = process.ask("turn", **REQUEST)
        longer = process.ask("turn", **REQUEST | {"seconds": 0.05, "quantity": "model"})
    assert len(once["ms"]) == 2
    assert len(longer["ms"]) > 2
    assert sum(longer["ms"]) == pytest.approx(50, rel=0.5)
    assert once["tokens"] == 6  # with the two special ones
    assert once["padding"] == pytest.approx(3 / (4 + 2 * 6), abs=1e-4)


def test_texts_are_cut_where_the_request_says_and_else_where_the_model_does(
    project: Callable,
) -> None:
    long = {"batches": [["good " * 60]]}
    with Worker("teacher onnx", Variant("teacher", "onnx").directory, 1) as process:
        assert process.ask("turn", **REQUEST | long | {"tokens": 8})["tokens"] == 8
        assert process.ask("turn", **REQUEST | long)["tokens"] == 32


def test_what_could_not_be_loaded_is_named(empty: Callable, capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(InputError, match="serves student int8 failed; look above for its error"):
        Worker("student int8", INT8, 1)
    errors = capfd.readouterr().err
    assert "worker: no data/models/student/int8/variant.json; make it with: dvc repro" in errors
    assert "Traceback" not in errors


def test_a_worker_that_dies_between_two_requests_is_named(project: Callable) -> None:
    with Worker("student int8", INT8, 1) as process:
        process.process.kill()
        process.process.wait()
        with pytest.raises(InputError, match="serves student int8 was killed by SIGKILL; free"):
            process.ask("turn", **REQUEST)


def test_a_worker_that_hangs_is_named_within_a_bound(
    project: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Worker("student int8", INT8, 1) as process:
        process.process.send_signal(signal.SIGSTOP)
        monkeypatch.setattr("stages.core.measuring.worker.ANSWER_SECONDS", 0.2)
        with pytest.raises(InputError, match=r"serves student int8 did not answer in 0\.2 s"):
            process.ask("turn", **REQUEST)
        assert process.process.wait(timeout=10) == -signal.SIGKILL


def test_a_worker_ends_when_nobody_can_ask_any_more(project: Callable) -> None:
    with Worker("student int8", INT8, 1) as process:
        assert process.process.stdin
        process.process.stdin.close()
        assert process.process.wait(timeout=10) == 0


def test_calls_are_repeated_as_a_whole() -> None:
    called: list[str] = []
    taken = timed([lambda: called.append("a"), lambda: called.append("b")], warmup=3, seconds=0.001)
    assert called[:5] == ["a", "b", "a", "a", "b"]
    assert len(taken) == len(called) - 3
    assert len(taken) % 2 == 0


def test_threads_that_never_rest_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(worker, "REST_SECONDS", 0.05)
        patch.setattr(worker.time, "process_time", itertools.count().__next__)
        with pytest.raises(InputError, match=r"threads are still busy 0.05 s after the last call"):
            rest()
    rest()
