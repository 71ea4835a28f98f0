"""What else was going on while something was measured."""

import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

CPU = Path("/sys/devices/system/cpu")
CGROUP = Path("/sys/fs/cgroup")


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
        every = psutil.cpu_times(percpu=True)
        cores = [every[core] for core in os.sched_getaffinity(0)]
        stolen, idle = sum(core.steal for core in cores), sum(core.idle for core in cores)
        idle += sum(core.iowait for core in cores)
        busy = sum(c.user + c.nice + c.system + c.irq + c.softirq for c in cores)
        ours = [psutil.Process(pid).cpu_times() for pid in (os.getpid(), *processes)]
        statistics = dict(line.split() for line in (_cgroup("cpu.stat") or "").splitlines())
        return cls(
            available=busy + idle + stolen,
            busy=busy,
            stolen=stolen,
            ours=sum(sum(times[:4]) for times in ours),  # with children that have ended
            throttled=int(statistics.get("nr_throttled", 0)),
        )


def conditions(before: Clocks, after: Clocks) -> dict[str, Any]:
    """Return what can change a measurement: the load that was not ours, and the power settings.

    Shares are of the time of our cores, from 0 to 1. What the system does not tell is null.
    """
    passed = {name: value - asdict(before)[name] for name, value in asdict(after).items()}
    others = max(0.0, passed["busy"] - passed["ours"])
    battery = psutil.sensors_battery()
    return {
        "others_share": round(others / passed["available"], 4),
        "stolen_share": round(passed["stolen"] / passed["available"], 4),
        "throttled_periods": passed["throttled"],
        "cpu_quota": _cgroup("cpu.max"),
        "governor": _read(CPU / "cpu0/cpufreq/scaling_governor"),
        "boost": _read(CPU / "cpufreq/boost"),
        "on_battery": None if battery is None else not battery.power_plugged,
    }


def commit() -> str | None:
    """Return the commit whose code and settings run here, marked if they were changed since.

    Null outside a git repository.
    """
    head = _git("rev-parse", "--short=12", "HEAD")
    if head is None:
        return None
    changed = _git("status", "--porcelain", "--", "stages", "dvc.yaml", "params.yaml")
    return f"{head}, with changes" if changed else head


def _git(*arguments: str) -> str | None:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _cgroup(name: str) -> str | None:
    groups = _read(Path("/proc/self/cgroup")) or ""
    ours = next((line[3:] for line in groups.splitlines() if line.startswith("0::")), "/")
    return _read(CGROUP / ours.lstrip("/") / name)


def _read(file: Path) -> str | None:
    return file.read_text().strip() if file.exists() else None
