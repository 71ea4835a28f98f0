"""How many threads make sense: in containers, with quotas and sets of CPUs."""

import os
from pathlib import Path

import pytest

from stages.core.launch import cores


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have 16 cores, and cgroups that the tests write."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {*range(16)})
    monkeypatch.setattr(cores, "ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "CGROUP", tmp_path / "groups")


def write(tmp_path: Path, groups: str, **files: str) -> None:
    (tmp_path / "groups").write_text(groups)
    for name, content in files.items():
        file = tmp_path / "cgroup" / name.replace("__", "/").replace("cpu_", "cpu.")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


def test_without_cgroups_all_cores_of_the_affinity_count() -> None:
    assert cores.quota() is None
    assert cores.cores() == 16


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        # Version 2: of the group itself, of a parent, and of a container's own root.
        ("0::/a/b\n", {"a__b__cpu_max": "150000 100000"}, 1.5),
        ("0::/a/b\n", {"a__b__cpu_max": "max 100000", "a__cpu_max": "400000 100000"}, 4.0),
        ("0::/a/b\n", {"a__b__cpu_max": "800000 100000", "a__cpu_max": "400000 100000"}, 4.0),
        ("0::/not/here\n", {"cpu_max": "200000 100000"}, 2.0),
        ("0::/\n", {"cpu_max": "max 100000"}, None),
        # Version 1, alone and beside another controller.
        (
            "1:cpu:/a\n",
            {"cpu__a__cpu_cfs_quota_us": "50000", "cpu__a__cpu_cfs_period_us": "100000"},
            0.5,
        ),
        ("4:cpu,cpuacct:/a/b\n0::/\n", {"cpu,cpuacct__a__cpu_cfs_quota_us": "300000"}, 3.0),
        ("1:cpu:/a\n", {"cpu__a__cpu_cfs_quota_us": "-1"}, None),
        ("3:cpuset:/a\n", {"cpuset__a__cpu_cfs_quota_us": "100000"}, None),
    ],
)
def test_the_smallest_quota_of_a_group_and_its_parents_counts(
    tmp_path: Path, groups: str, files: dict[str, str], quota: float | None
) -> None:
    write(tmp_path, groups, **files)
    assert cores.quota() == quota
    assert cores.cores() == (16 if quota is None else max(1, int(quota)))


def test_a_set_of_cpus_counts_whatever_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {24, 30})
    write(tmp_path, "0::/\n", cpu_max="800000 100000")
    assert cores.cores() == 2
