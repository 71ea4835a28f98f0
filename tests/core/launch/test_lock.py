import multiprocessing
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from stages.core.launch.lock import machine_lock


def hold(alone: bool, entered: Event, leave: Event) -> None:
    with machine_lock(alone=alone):
        entered.set()
        leave.wait(30)


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [(False, False, False), (True, False, True), (False, True, True), (True, True, True)],
)
def test_only_shared_holders_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool, second: bool, waits: bool
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    context = multiprocessing.get_context("fork")
    leave, entered = context.Event(), [context.Event(), context.Event()]
    holders = [
        context.Process(target=hold, args=(alone, event, leave))
        for alone, event in zip((first, second), entered, strict=True)
    ]
    holders[0].start()
    assert entered[0].wait(30)
    holders[1].start()
    assert entered[1].wait(0.5) is not waits
    leave.set()
    assert entered[1].wait(30)
    for holder in holders:
        holder.join(30)


def test_the_lock_of_a_killed_process_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    context = multiprocessing.get_context("fork")
    entered = context.Event()
    holder = context.Process(target=hold, args=(True, entered, context.Event()))
    holder.start()
    assert entered.wait(30)
    holder.kill()
    holder.join(30)
    started = time.monotonic()
    with machine_lock(alone=True):
        assert time.monotonic() - started < 5
