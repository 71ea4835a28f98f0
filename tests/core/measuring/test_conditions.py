import os
import subprocess
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest

from stages.core.measuring.conditions import (
    TICKS,
    Clocks,
    commit,
    disturbances,
    our_cores,
    power_settings,
)

BEFORE = Clocks(available=100, busy=50, stolen=0, ours=10, throttled=0)


def test_what_was_neither_ours_nor_idle_is_others() -> None:
    after = replace(BEFORE, available=300, busy=150, ours=60, stolen=20, throttled=3)
    found = disturbances(BEFORE, after)
    assert found["others_share"] == (100 - 50) / 200
    assert found["stolen_share"] == 20 / 200
    assert found["throttled_periods"] == 3


def test_a_sandbox_that_counts_no_time_and_has_no_battery_spoils_no_measurement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing() -> None:
        raise FileNotFoundError("/sys/class/power_supply")

    monkeypatch.setattr(psutil, "sensors_battery", missing)
    found = disturbances(BEFORE, replace(BEFORE, ours=60))
    assert [found[key] for key in ("others_share", "stolen_share")] == [None] * 2
    assert power_settings()["on_battery"] is None


@pytest.mark.parametrize(("plugged", "on_battery"), [(None, None), (True, False), (False, True)])
def test_a_battery_whose_charger_is_unknown_is_no_warning(
    monkeypatch: pytest.MonkeyPatch, plugged: bool | None, on_battery: bool | None
) -> None:
    monkeypatch.setattr(psutil, "sensors_battery", lambda: Mock(power_plugged=plugged))
    assert power_settings()["on_battery"] is on_battery


def test_the_clocks_go_on_and_know_ours_from_others() -> None:
    before = Clocks.read([])
    started = os.times()
    while os.times().user - started.user < 0.2:
        pass
    after = Clocks.read([])
    assert 0.2 <= round(after.ours - before.ours, 2) < 1
    assert after.available > before.available


STAT = "cpu  9 9\n" + "".join(f"cpu{core} {core * TICKS}{' 0' * 9}\n" for core in (0, 2, 3))


def test_cores_are_known_by_id_where_one_is_offline() -> None:
    assert [times[0] for times in our_cores(STAT, {2, 3})] == [2, 3]


def test_all_cores_listed_are_ours_where_a_container_numbers_them_anew() -> None:
    assert [times[0] for times in our_cores(STAT, {4, 5})] == [0, 2, 3]


def test_the_commit_is_marked_when_code_or_settings_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert commit() is None
    for word in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{word}_NAME", "test")
        monkeypatch.setenv(f"GIT_{word}_EMAIL", "test@example.org")
    params = tmp_path / "params.yaml"
    params.write_text("seed: 1\n")
    for command in ("init --quiet", "add --all", "commit --quiet --message first"):
        subprocess.run(["git", *command.split()], check=True)
    (tmp_path / "dvc.lock").write_text("an output\n")
    clean = commit()
    assert clean
    assert "changes" not in clean
    params.write_text("seed: 2\n")
    assert commit() == f"{clean}, with changes"
