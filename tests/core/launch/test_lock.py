import multiprocessing
from multiprocessing.context import ForkProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from stages.core.launch.errors import InputError
from stages.core.launch.lock import machine_lock

CONTEXT = multiprocessing.get_context("fork")
PATIENCE = 30


def hold(alone: bool, entered: Event, leave: Event) -> None:
    with machine_lock(alone=alone):
        entered.set()
        leave.wait(PATIENCE)


class Holder:
    """A process that wants the lock, and has it from `entered` to `leave`."""

    def __init__(self, *, alone: bool) -> None:
        self.entered, self.leave = CONTEXT.Event(), CONTEXT.Event()
        self.process: ForkProcess = CONTEXT.Process(
            target=hold, args=(alone, self.entered, self.leave), daemon=True
        )
        self.process.start()


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.core.launch.lock.DIRECTORY", tmp_path)


def test_a_directory_for_locks_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.core.launch.lock.DIRECTORY", tmp_path / "no")
    with (
        pytest.raises(InputError, match=r"BERT_LATENCY_LOCKS = .*/no is not a directory"),
        machine_lock(alone=True),
    ):
        pass


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [(False, False, False), (True, False, True), (False, True, True), (True, True, True)],
)
def test_only_shared_holders_meet(first: bool, second: bool, waits: bool) -> None:
    holder = Holder(alone=first)
    assert holder.entered.wait(PATIENCE)
    other = Holder(alone=second)
    assert other.entered.wait(0.3) is not waits
    holder.leave.set()
    assert other.entered.wait(PATIENCE)
    other.leave.set()


def test_who_comes_later_does_not_overtake_a_measurement_that_waits() -> None:
    training = Holder(alone=False)
    assert training.entered.wait(PATIENCE)
    measurement = Holder(alone=True)
    assert not measurement.entered.wait(0.3)
    latecomer = Holder(alone=False)
    assert not latecomer.entered.wait(0.3)
    training.leave.set()
    assert measurement.entered.wait(PATIENCE)
    assert not latecomer.entered.is_set()
    measurement.leave.set()
    assert latecomer.entered.wait(PATIENCE)
    latecomer.leave.set()


def test_the_lock_of_a_killed_process_is_free(capsys: pytest.CaptureFixture) -> None:
    holder = Holder(alone=True)
    assert holder.entered.wait(PATIENCE)
    holder.process.kill()
    holder.process.join(PATIENCE)
    with machine_lock(alone=True):
        assert "waiting" not in capsys.readouterr().err
