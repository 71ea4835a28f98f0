import time
from queue import SimpleQueue

import pytest

from stages.core.measuring.trial import Trial, collect, run_trial

TEXTS = ["a", "b", "c"]


def trial(scenario: str, rate: float, seconds: float, batch: int = 1) -> Trial:
    return Trial(scenario, rate, seconds, batch, wait_ms=0, percentile=99, seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize(("batch", "calls"), [(1, 40), (4, 10)])
def test_requests_that_come_at_once_are_answered_in_full_batches(batch: int, calls: int) -> None:
    answered: list[list[str]] = []
    found = run_trial(answered.append, TEXTS, trial("Offline", 400, 0.1, batch))
    # The load generator adds a tenth, so that a faster system is busy until the end.
    assert found["requests"] == sum(map(len, answered)) == pytest.approx(44, abs=1)
    assert len(answered) == pytest.approx(calls, rel=0.2)
    assert {text for batch in answered for text in batch} == {*TEXTS}
    assert [size for size, _ in found["calls"]] == [*map(len, answered)]
    assert all(ms > 0 for _, ms in found["calls"])
    assert found["ms"] > 0


def test_requests_arrive_at_the_rate_that_is_asked_for() -> None:
    answered: list[list[str]] = []
    times: list[float] = []

    def answer(batch: list[str]) -> None:
        answered.append(batch)
        times.append(time.perf_counter())

    found = run_trial(answer, TEXTS, trial("Server", 1000, 2))
    assert found["requests"] == len(answered) == 2000
    assert len(times) / (times[-1] - times[0]) == pytest.approx(found["rate"], rel=0.2)
    assert all(len(batch) == 1 for batch in answered)


def test_a_rate_at_which_no_request_would_come_in_time_gets_two() -> None:
    answered: list[list[str]] = []
    found = run_trial(answered.append, TEXTS, trial("Server", 20, 0.001))
    assert found["requests"] == len(answered) == 2
    assert found["ms"] > 0


def test_one_request_at_a_time_is_answered_before_the_next_is_sent() -> None:
    answered: list[list[str]] = []
    found = run_trial(answered.append, TEXTS, trial("SingleStream", 1e5, 0.05, batch=4))
    assert all(len(batch) == 1 for batch in answered)
    assert found["requests"] == len(answered)
    assert found["rate"] == pytest.approx(len(answered) / 0.05, rel=0.3)


def test_requests_that_come_at_once_fill_a_batch() -> None:
    answered: list[list[str]] = []
    run_trial(answered.append, TEXTS, trial("Offline", 10, 0.001, batch=5))
    assert [*map(len, answered)] == [5]


def test_a_batch_waits_for_others_no_longer_than_it_may() -> None:
    waiting: SimpleQueue[int | None] = SimpleQueue()
    for number in (1, 2, 3, None):
        waiting.put(number)
    assert collect(waiting, 2, wait=60) == [1, 2]
    waiting.put(4)
    assert waiting.qsize() == 3
    assert collect(waiting, 1, wait=60) == [3]
    assert collect(waiting, 2, wait=60) == []
    assert collect(waiting, 2, wait=0.001) == [4]
