"""The cores that this process may use: its affinity (cpuset), and the CPU quota of its cgroups."""

import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
CGROUP = Path("/proc/self/cgroup")


def cores() -> int:
    """Return how many threads can run at once: at most the affinity's cores and the quota."""
    available = len(os.sched_getaffinity(0))
    limit = quota()
    return available if limit is None else max(1, min(available, int(limit)))


def quota() -> float | None:
    """Return the cores' worth of time that the cgroups allow, None without a limit.

    It is the smallest of this process's group and all that contain it, in version 2 (`cpu.max`) or
    1 (`cpu.cfs_quota_us`).
    """
    limits = []
    for directory in groups("cpu"):
        limit, period = (read(directory / "cpu.max") or "max 100000").split()
        if limit == "max":
            limit = read(directory / "cpu.cfs_quota_us") or "-1"
            period = read(directory / "cpu.cfs_period_us") or "100000"
        if int(limit) > 0:
            limits.append(int(limit) / int(period))
    return min(limits, default=None)


def groups(controller: str) -> list[Path]:
    """Return the directories of this process's cgroup and its parents, in both versions.

    A container may see its own group as the root, under a path that is not there.
    """
    found = []
    for line in (read(CGROUP) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = ROOT / controllers if controllers else ROOT
        group = root / path.lstrip("/")
        found += [each for each in (group, *group.parents) if each.is_relative_to(root)]
    return found


def read(file: Path) -> str | None:
    """Return a file's content, None if there is none."""
    return file.read_text().strip() if file.exists() else None
