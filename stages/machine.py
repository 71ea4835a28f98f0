"""Record the machine and the library versions, on which a measurement depends."""

import platform
import shutil
import subprocess
from importlib.metadata import version
from typing import Any

import cpuinfo
import psutil

from stages.core.engines import load_engine
from stages.core.launch.atomic import write_json
from stages.core.launch.command import launch
from stages.core.launch.cores import cores
from stages.core.launch.paths import MACHINE
from stages.core.launch.settings import Settings

# The instruction sets that decide how fast a matrix product is.
INSTRUCTION_SETS = (
    *("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "i8mm", "bf16", "sve"),
)
PACKAGES = ("tokenizers", "numpy", "mlcommons-loadgen")  # and those of every engine in use


def run(config: Settings) -> str:
    """Write reports/machine.json: no clock and no host name, so it changes with the machine."""
    engines = ["pytorch", "onnxruntime", *(each.engine for each in config.quantize.values())]
    used = [*(name for each in engines for name in load_engine(each).PACKAGES), *PACKAGES]
    machine = describe(used)
    write_json(MACHINE, machine)
    return f"{MACHINE}: {summary(machine)}"


def describe(packages: list[str]) -> dict[str, Any]:
    """Return this machine, and the versions of packages."""
    cpu = cpuinfo.get_cpu_info()
    flags = set(cpu.get("flags", ()))
    return {
        "cpu": cpu.get("brand_raw", platform.processor()),
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {package: version(package) for package in dict.fromkeys(packages)},
        "gpus": gpus(),  # of the training: nothing that is measured runs on one
    }


def summary(machine: dict[str, Any]) -> str:
    """Return a machine in a line."""
    cpu = f"{machine['cores']} cores of {machine['cpu']}"
    return ", ".join([cpu, f"{machine['memory_gib']} GiB", *machine["gpus"]])


def gpus() -> list[str]:
    """Return the names of the NVIDIA GPUs, as the driver tells them without PyTorch."""
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []


if __name__ == "__main__":
    launch(run)
