"""The load and power settings during a measurement."""

import os
import re
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from stages.core.launch.cores import groups, quota, read

TICKS = os.sysconf("SC_CLK_TCK")  # a second
CPU = Path("/sys/devices/system/cpu")


@dataclass(frozen=True)
class Clocks:
    """Seconds since start-up, summed over our cores, and how often a quota stopped us."""

    available: float
    busy: float
    stolen: float  # by other guests of the host
    ours: float
    throttled: int

    @classmethod
    def read(cls, processes: list[int]) -> "Clocks":
        """Return the clocks; `processes` are those that count as ours, beside this one."""
        cores = our_cores(Path("/proc/stat").read_text(), os.sched_getaffinity(0))
        user, nice, system, idle, iowait, irq, softirq, stolen = np.sum(cores, axis=0)
        busy = user + nice + system + irq + softirq
        ours = [psutil.Process(pid).cpu_times() for pid in (os.getpid(), *processes)]
        throttled = 0
        for group in groups("cpu"):  # of the one with a quota; the others have counted none
            lines = (read(group / "cpu.stat") or "").splitlines()
            throttled = max(throttled, int(dict(map(str.split, lines)).get("nr_throttled", 0)))
        return cls(
            available=float(busy + idle + iowait + stolen),
            busy=float(busy),
            stolen=float(stolen),
            ours=sum(sum(times[:4]) for times in ours),  # with children that have ended
            throttled=throttled,
        )


def our_cores(statistics: str, affinity: set[int]) -> list[list[float]]:
    """Return the seconds of each of our cores from /proc/stat, by the ids that we may use.

    An offline core has no line. In some containers lines are renumbered; then all are ours.
    """
    lines = re.findall(r"^cpu(\d+) (.+)$", statistics, re.MULTILINE)
    seconds = {
        int(core): [int(ticks) / TICKS for ticks in times.split()[:8]] for core, times in lines
    }
    known = affinity if affinity <= seconds.keys() else seconds.keys()
    return [seconds[core] for core in known]


def disturbances(before: Clocks, after: Clocks) -> dict[str, Any]:
    """Return how much of our cores a measurement did not have.

    Shares are of the time of our cores, from 0 to 1. Unknown values are null.
    """
    passed = {name: value - asdict(before)[name] for name, value in asdict(after).items()}
    others, available = max(0.0, passed["busy"] - passed["ours"]), passed["available"]
    return {  # some sandboxes count no time
        "others_share": round(others / available, 4) if available else None,
        "stolen_share": round(passed["stolen"] / available, 4) if available else None,
        "throttled_periods": passed["throttled"],
    }


def power_settings() -> dict[str, Any]:
    """Return what limits the speed of our cores. Unknown values are null."""
    return {
        "cpu_quota": quota(),
        "governor": read(CPU / "cpu0/cpufreq/scaling_governor"),
        "boost": read(CPU / "cpufreq/boost"),
        "on_battery": _on_battery(),
    }


def _on_battery() -> bool | None:
    try:
        battery = psutil.sensors_battery()
    except OSError:  # a system without /sys/class/power_supply
        return None
    return None if battery is None or battery.power_plugged is None else not battery.power_plugged


def commit() -> str | None:
    """Return the commit whose code and settings run here, marked if they were changed since.

    Null outside a git repository.
    """
    head = _git("rev-parse", "--short=12", "HEAD")
    if head is None:
        return None
    changed = _git("status", "--porcelain", "--", "stages", "conf", "dvc.yaml", "params.yaml")
    return f"{head}, with changes" if changed else head


def _git(*arguments: str) -> str | None:
    if not shutil.which("git"):
        return None
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
