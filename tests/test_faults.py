"""Faults, injected into the real DAG on the toy experiment: killed, damaged, full, twice at once.

After each, the user's way back is taken: `dvc repro`, then whatever command a message names. FAULTS
and SEED in the environment say how many and which (`make faults`).
"""

import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import chdir
from copy import copy
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import yaml

from stages.core.launch.errors import InputError
from stages.core.launch.lock import machine_lock
from stages.tools.params import write_params
from stages.tools.verify import digest, mismatches
from tests.clone import ENVIRONMENT, Clone

FAULTS = int(os.environ.get("FAULTS", "16"))
SEED = int(os.environ.get("SEED", "0"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

# The commands that messages name.
NAMED = re.compile(
    r"(?:restore|restore it|make it|make them) with: (.+)"
    r"|(?:free some space|remove .+), then run (dvc repro)"
)
TIMED = ("benchmark", "load", "profile")
SAMPLES = Path("data/benchmark/samples.parquet")


class Workspace:
    """A clone whose whole toy experiment has run once, undisturbed.

    Attributes:
        seconds: how long each stage took.
        modules: the names of the stages that are instances of one module.
        outputs: the digests of those outputs that don't depend on the clock.
        calls: how many calls of each variant the benchmark timed.
    """

    def __init__(self, directory: Path, settings: list[str]) -> None:
        self.directory = directory
        self.environment = ENVIRONMENT | {
            "BERT_LATENCY_LOCKS": str(directory.parent),
            "PYTHONDONTWRITEBYTECODE": "1",  # half a file of it would pass for a complete one
        }
        clone = Clone(directory)
        write_params(directory / "params.yaml", settings)
        self.seconds = self._first_run()
        clone.commit("Undisturbed")
        with chdir(directory):
            # The committed lock has forms besides that this experiment lacks.
            stages = {
                name: each for name, each in recorded_stages().items() if name in self.seconds
            }
            self.outputs = {path: digest(path) for path in self._untimed(stages)}
            self.calls = self._calls()
        self.modules: dict[str, list[str]] = {}
        for name, stage in stages.items():
            self.modules.setdefault(stage["cmd"].split()[2], []).append(name)

    def _first_run(self) -> dict[str, float]:
        process = self.start("dvc", "repro")
        assert process.stdout
        begun = [
            (found[1], time.monotonic())
            for line in process.stdout
            if (found := re.match(r"Running stage '(.+)':", line))
        ]
        assert process.wait() == 0
        ends = [moment for _, moment in begun[1:]] + [time.monotonic()]
        return {name: end - start for (name, start), end in zip(begun, ends, strict=True)}

    @staticmethod
    def _calls() -> dict[str, int]:
        return pd.read_parquet(SAMPLES)["variant"].value_counts().to_dict()

    @staticmethod
    def _untimed(stages: dict) -> list[Path]:
        timed = {Path(out["path"]) for name in TIMED for out in stages[name]["outs"]}
        for _ in stages:  # whatever is made of something timed is timed
            for stage in stages.values():
                if any(Path(dependency["path"]) in timed for dependency in stage["deps"]):
                    timed |= {Path(out["path"]) for out in stage["outs"]}
        outs = (Path(out["path"]) for stage in stages.values() for out in stage.get("outs", ()))
        return [path for path in outs if path not in timed]

    def copy(self, directory: Path) -> "Workspace":
        """Return a workspace of the same content, with a machine lock of its own."""
        other = copy(self)
        other.directory = shutil.copytree(self.directory, directory, symlinks=True)
        other.environment = self.environment | {"BERT_LATENCY_LOCKS": str(directory.parent)}
        return other

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str) -> tuple[int, str]:
        process = self.start(*command)
        printed, _ = process.communicate()
        return process.returncode, printed

    def force(self, stage: str) -> subprocess.Popen[str]:
        return self.start("dvc", "repro", "--force", "--single-item", stage)

    def strangers(self) -> list[psutil.Process]:
        """Return the processes that work in this clone."""
        return [
            process
            for process in psutil.process_iter(["cwd", "status"])
            if process.info["cwd"] == str(self.directory)
            and process.info["status"] != psutil.STATUS_ZOMBIE
        ]

    def problems(self) -> str:
        """Return how this clone differs from the undisturbed one, and the remedies."""
        with chdir(self.directory):
            try:
                found = mismatches()
            except InputError as error:
                found = [str(error)]
            found += [
                f"{path} is not as before"
                for path, before in self.outputs.items()
                if not path.exists() or digest(path) != before
            ]
            if not SAMPLES.exists():
                found.append(f"no {SAMPLES}")
            elif not found and self._calls() != self.calls:
                found.append(f"{SAMPLES} lacks calls")
        return "\n".join(found)

    def recover(self, command: str) -> str:
        """Run a command, then those that messages name; return what went wrong for good."""
        log = ""
        for _ in range(4):
            returncode, printed = self.run("bash", "-c", command)
            amiss = self.problems()
            if returncode == 0 and not amiss:
                return ""
            log += f"$ {command} ({returncode})\n{printed[-1500:]}\n{amiss}\n"
            named = NAMED.search(f"{amiss}\n{printed}")
            command = (named[1] or named[2]) if named else "dvc repro"
        return log


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, lean: list[str]) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("faults") / "project", lean)


@pytest.fixture
def machine_taken(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hold the machine alone, so that every stage waits."""
    monkeypatch.setattr("stages.core.launch.lock.DIRECTORY", workspace.directory.parent)
    with machine_lock(alone=True):
        yield


def recorded_stages() -> dict[str, Any]:
    return yaml.safe_load(Path("dvc.lock").read_text())["stages"]


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def wait_until_printed(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout
    assert any(text in line for line in process.stdout)


def stage_of(process: subprocess.Popen[str]) -> psutil.Process | None:
    """Return the stage that a dvc process runs, once it does."""
    dvc = psutil.Process(process.pid)
    while process.poll() is None:
        for child in dvc.children():
            if "stages." in " ".join(child.cmdline()):
                return child
        time.sleep(0.02)
    return None


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/dash"])  # dash may stay between the two
def test_a_stage_ends_with_its_dvc(
    workspace: Workspace, machine_taken: None, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setitem(workspace.environment, "SHELL", shell)
    process = workspace.force("quantize@student-int8")
    wait_until_printed(process, "waiting for a measurement")
    process.kill()
    process.wait()
    wait_for(lambda: not workspace.strangers(), 10)


def test_a_stage_whose_dvc_has_ended_says_so(workspace: Workspace) -> None:
    orphan = "(sleep 1; exec python -m stages.machine -cn resolved) & kill -9 $$"
    environment = workspace.environment | {"DVC_STAGE": "machine"}
    process = subprocess.Popen(
        ["bash", "-c", orphan],
        cwd=workspace.directory,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    _, printed = process.communicate()
    assert printed == "machine: the dvc that began this stage has ended; run dvc repro again\n"


def test_a_second_repro_is_refused_and_harms_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.core.launch.lock.DIRECTORY", workspace.directory.parent)
    with machine_lock(alone=True):
        first = workspace.force("quantize@student-int8")
        wait_until_printed(first, "waiting for a measurement")
        returncode, printed = workspace.run(
            "dvc", "repro", "--force", "-s", "quantize@student-int8"
        )
        assert returncode != 0
        assert "is busy, it is being blocked by" in printed
        assert str(first.pid) in printed
    first.communicate()
    assert first.returncode == 0
    assert workspace.problems() == ""


def outputs_of(workspace: Workspace, stage: str) -> list[Path]:
    with chdir(workspace.directory):
        return [Path(out["path"]).absolute() for out in recorded_stages()[stage]["outs"]]


def test_a_killed_report_leaves_no_metrics_and_nothing_of_yesterday(workspace: Workspace) -> None:
    outs = outputs_of(workspace, "report")
    started = time.time()
    process = workspace.force("report")
    table = workspace.directory / "reports" / "results.csv"
    wait_for(lambda: table.exists() and table.stat().st_mtime > started, 120)
    stage = stage_of(process)
    assert stage
    stage.kill()
    assert process.wait() != 0
    left = [path for path in outs if path.exists()]
    assert workspace.directory / "reports" / "metrics.json" not in left
    assert [path for path in left if path.stat().st_mtime < started] == []
    assert workspace.recover("dvc repro") == ""


# Each fault is injected and returns the command of the way back, or None where it came too late.
Fault = Callable[[Workspace, random.Random, str], str | None]


def killed_stage(workspace: Workspace, chance: random.Random, stage: str) -> str | None:
    process = workspace.force(stage)
    victim = stage_of(process)
    time.sleep(chance.uniform(0, workspace.seconds[stage]))
    if victim and process.poll() is None and victim.is_running():
        victim.kill()
    printed, _ = process.communicate()
    return "dvc repro --no-run-cache" if "exited with -9" in printed else None


def killed_dvc(workspace: Workspace, chance: random.Random, stage: str) -> str | None:
    process = workspace.force(stage)
    time.sleep(chance.uniform(0, workspace.seconds[stage] + 2))
    process.kill()
    return "dvc repro" if process.wait() == -signal.SIGKILL else None


def full_disk(workspace: Workspace, chance: random.Random, stage: str) -> str | None:
    limit = chance.choice((0, 1, 4, 16, 64))  # in KiB; then every write fails
    returncode, printed = workspace.run(
        "bash", "-c", f"ulimit -f {limit}; exec dvc repro --force --single-item {stage}"
    )
    assert "Traceback" not in printed, printed
    return "dvc repro" if returncode else None


def spoil(file: Path, chance: random.Random) -> None:
    """Truncate a file, delete it, or flip a byte of it, at times without a trace in its times."""
    way, before, content = chance.randrange(4), file.stat(), bytearray(file.read_bytes())
    if way == 0 or not content:
        file.unlink()
        return
    if way == 1:
        content = content[: chance.randrange(len(content))]
    else:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.chmod(0o644)
    file.write_bytes(content)
    file.chmod(before.st_mode)
    if way == 3:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def damaged_output(workspace: Workspace, chance: random.Random, stage: str) -> str | None:
    output = chance.choice(outputs_of(workspace, stage))
    spoil(chance.choice([path for path in (output, *output.rglob("*")) if path.is_file()]), chance)
    return "dvc repro"


def damaged_cache(workspace: Workspace, chance: random.Random, stage: str) -> str | None:
    output = outputs_of(workspace, stage)[0]
    if not output.is_dir():  # only directories are in the cache
        return None
    name = chance.choice([digest(path) for path in (output, *output.rglob("*")) if path.exists()])
    cached = workspace.directory / ".dvc/cache/files/md5" / name[:2] / name[2:]
    if not cached.exists():  # dvc was killed before it put it there, and found it unchanged after
        return None
    spoil(cached, chance)
    shutil.rmtree(output)
    return "dvc repro"


def damaged_lock(workspace: Workspace, chance: random.Random, _: str) -> str | None:
    lock = workspace.directory / "dvc.lock"
    os.truncate(lock, chance.randrange(lock.stat().st_size))
    return "dvc repro"


def inject(workspace: Workspace, plan: list[tuple[Fault, str]], count: int) -> list[str]:
    """Inject `count` faults, in the plan's order; return what was lost of each."""
    chance = random.Random(SEED)
    logs: list[str] = []
    for fault, module in itertools.cycle(plan):
        if len(logs) == count:
            break
        stage = chance.choice(workspace.modules[module])
        started = time.monotonic()
        command = fault(workspace, chance, stage)
        if command is None:
            continue
        log = workspace.recover(command)
        logs.append(f"{fault.__name__} {stage}\n{log}" if log else "")
        result = f"{fault.__name__} {stage}: {'LOST' if log else 'survived'}"
        print(f"{result} ({time.monotonic() - started:.0f} s)", flush=True)
        if log:
            workspace.run(
                "bash", "-c", "git reset -q --hard && rm -rf data/*/ .dvc/cache/runs && dvc repro"
            )
    return logs


def test_no_fault_loses_anything(workspace: Workspace, tmp_path: Path) -> None:
    others = (damaged_output, damaged_cache, killed_dvc, full_disk, damaged_lock)
    pairs: list[tuple[Fault, str]] = [*itertools.product(others, workspace.modules)]
    random.Random(SEED).shuffle(pairs)
    plan = [*itertools.product((killed_stage,), workspace.modules), *pairs]
    # Two at a time: most of it is one core that imports libraries.
    clones = (workspace, workspace.copy(tmp_path / "project"))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        halves = pool.map(
            inject, clones, (plan[::2], plan[1::2]), (FAULTS - FAULTS // 2, FAULTS // 2)
        )
        logs = [log for half in halves for log in half]
    lost = list(filter(None, logs))
    print(f"injected: {len(logs)}, survived: {len(logs) - len(lost)}, lost: {len(lost)}")
    assert len(logs) == FAULTS
    assert not lost, "\n".join(lost)
