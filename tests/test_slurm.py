"""A sweep in a real Slurm: a controller and one node, started here for the test alone."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest

from stages.core.launch.cores import cores
from tests.clone import Clone, stages

# They are made of what the first run of the defaults has pushed; the last one trains a student.
SETTINGS = {
    "benchmark.calls=3": "benchmark.calls-3",
    "profile.texts=6 'benchmark.sweep.lengths=[8]'": "profile.texts-6-benchmark.sweep.lengths-8",
    "distill.label_weight=0.5": "distill.label_weight-0.5",
}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}
SlurmUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthInfo=socket={directory}/munge.socket
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
ReturnToService=2
NodeName={host} CPUs={cpus} RealMemory=1024
PartitionName=all Nodes=ALL Default=YES
"""


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Path]:
    """Start Slurm's daemons, all of their files in one directory; return their configuration."""
    for each in ("munged", "slurmctld", "slurmd"):
        assert shutil.which(each), f"no {each}; on Debian: apt-get install slurm-wlm munge"
    directory = tmp_path / "slurm"
    (directory / "state").mkdir(parents=True)
    with socket.socket() as first, socket.socket() as second:
        first.bind(("", 0))
        second.bind(("", 0))
        ports = [first.getsockname()[1], second.getsockname()[1]]
    file = directory / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    file.write_text(CONFIGURATION.format(host=host, ports=ports, directory=directory, cpus=cores()))
    key = directory / "munge.key"
    key.write_bytes(bytes(range(128)))
    key.chmod(0o600)
    files = [f"--{each}-file={directory / each}" for each in ("pid", "log", "seed")]
    files += [f"--key-file={key}", f"--socket={directory}/munge.socket"]
    daemons = [["munged", "--foreground", "--force", *files], ["slurmctld", "-D"], ["slurmd", "-D"]]
    environment = os.environ | {"SLURM_CONF": str(file)}
    with ExitStack() as stack:
        for daemon in daemons:
            log = stack.enter_context((directory / f"{daemon[0]}.log").open("w"))
            process = subprocess.Popen(daemon, env=environment, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            time.sleep(1)
            assert process.poll() is None, Path(log.name).read_text()
        yield file


@pytest.fixture
def project(tmp_path: Path, lean: list[str]) -> Clone:
    """Return a clone with the toy experiment in both of its remotes."""
    clone = Clone(tmp_path / "project")
    clone.shrink(lean)
    clone.run("git", "init", "--quiet", "--bare", "../remote.git")
    clone.run("git", "remote", "set-url", "origin", "../remote.git")
    (tmp_path / "store").mkdir()
    clone.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    clone.dvc("repro")
    clone.dvc("push")
    clone.commit("The toy experiment")
    clone.run("git", "push", "--quiet", "origin", "HEAD")
    return clone


def test_an_array_of_three_ends_with_three_experiments(
    slurm: Path, project: Clone, tmp_path: Path
) -> None:
    variables = (f"SLURM_CONF={slurm}", f"BERT_LATENCY_VENV={Path(sys.executable).parents[1]}")
    (tmp_path / "settings.txt").write_text("\n".join(SETTINGS))
    output = f"--output={tmp_path}/job-%a.txt"
    sweep = ("cluster/sweep.sh", "../settings.txt", "sbatch", "--wait", output)
    project.run("env", *variables, *sweep)
    ran = [stages((tmp_path / f"job-{each}.txt").read_text()) for each in (1, 2, 3)]
    assert "benchmark" in ran[0]
    assert [each for each in (0, 1, 2) if "distill" in ran[each]] == [2]
    assert not any("finetune" in each for each in ran)

    project.run("dvc", "exp", "pull", "--no-cache", "origin")
    project.run("bash", "-c", "dvc exp show --csv > ../shown.csv")
    shown = pd.read_csv(tmp_path / "shown.csv")
    assert {*SETTINGS.values()} <= {*shown["Experiment"]}
    project.run("python", "-m", "stages.tools.sweep", "--existing")
