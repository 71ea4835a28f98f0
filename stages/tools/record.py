"""What dvc.lock records of the outputs, and which files are no longer what they were.

DVC trusts a file whose size and time are as before, and any cache object that is read-only: a byte
that flipped in either reaches the next stage. Here, files are read and hashed.
"""

import hashlib
import json
import os
import re
import shlex
from pathlib import Path
from typing import Annotated, Any, Required

import yaml
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from stages.core.launch.errors import InputError

OBJECT = re.compile(r"[0-9a-f]{30}(\.dir)?")  # the name of one in the cache

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{32}(\.dir)?$")]


class Entry(TypedDict, total=False):
    """A file or directory, as DVC records it."""

    path: Required[str]
    hash: str
    size: int
    nfiles: int
    isexec: bool


class Dependency(Entry, total=False):
    """What a stage read."""

    md5: Digest


class Output(Entry):
    """What a stage wrote."""

    md5: Digest


class Stage(TypedDict, total=False):
    """One run of a stage."""

    cmd: Required[str]
    deps: list[Dependency]
    params: dict[str, dict[str, Any]]
    outs: list[Output]


def recorded_stages() -> dict[str, Stage]:
    """Return the stages that dvc.lock records, by name.

    Raises:
        InputError: dvc.lock is damaged.
    """
    lock = Path("dvc.lock")
    if not lock.exists():
        return {}
    try:
        stages = yaml.safe_load(lock.read_text())["stages"]
        return TypeAdapter(dict[str, Stage]).validate_python(stages)
    except (yaml.YAMLError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            "dvc.lock is damaged; restore it with: git checkout HEAD dvc.lock && dvc repro"
        ) from error


def digest(path: Path) -> str:
    """Return the MD5 by which DVC knows a file or a directory."""
    if path.is_dir():
        files = {file.relative_to(path).as_posix(): file for file in path.rglob("*")}
        content = [
            {"md5": digest(file), "relpath": name}
            for name, file in sorted(files.items())
            if file.is_file()
        ]
        text = json.dumps(content)
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def recorded_outputs(stages: dict[str, Stage]) -> dict[Path, str]:
    """Return the digest of every output."""
    return {
        Path(out["path"]): out["md5"] for stage in stages.values() for out in stage.get("outs", ())
    }


def changed(outputs: dict[Path, str]) -> list[Path]:
    """Return the outputs that are there, but not as recorded."""
    return [path for path, md5 in outputs.items() if path.exists() and digest(path) != md5]


def changed_inputs(module: str) -> list[Path]:
    """Return those inputs of a stage that another stage put out and that are not as recorded.

    Args:
        module: the stage's name in stages/; if DVC runs it, the instance that DVC means counts.
    """
    stages = recorded_stages()
    name = os.environ.get("DVC_STAGE")
    inputs = [
        Path(dependency["path"])
        for key, stage in stages.items()
        if key == name or (not name and f"-m stages.{module} " in stage["cmd"])
        for dependency in stage.get("deps", ())
    ]
    outputs = recorded_outputs(stages)
    return changed(
        {out: outputs[out] for out in outputs if any(out.is_relative_to(path) for path in inputs)}
    )


def damaged_cache() -> list[Path]:
    """Return what in DVC's cache is not what its name says, and the runs that put it there.

    When DVC restores a damaged output, it may record that as another outcome of the same run.
    """
    if not Path(".dvc").is_dir():
        return []
    from dvc.repo import Repo  # takes a second, which only whoever looks for damage should wait

    cache = Path(os.path.relpath(Repo().cache.local.path))
    objects = {
        path: path.parent.name + path.name
        for path in cache.glob("??/*")
        if OBJECT.fullmatch(path.name)  # and not what a killed dvc was writing
    }
    damaged = [path for path, name in objects.items() if digest(path) != name.removesuffix(".dir")]
    names = [objects[path].removesuffix(".dir").encode() for path in damaged]
    names += [  # the directories that hold such a file
        name.removesuffix(".dir").encode()
        for path, name in objects.items()
        if path.suffix == ".dir" and _mentions(path, names)
    ]
    runs = (cache.parents[1] / "runs").glob("??/*/*")
    return [*damaged, *sorted({run.parent for run in runs if _mentions(run, names)})]


def _mentions(file: Path, names: list[bytes]) -> bool:
    content = file.read_bytes()
    return any(name in content for name in names)


def damage(outputs: list[Path], cached: list[Path]) -> str:
    """Name damaged outputs and cache entries, and the command that makes them anew.

    What DVC restored from a damaged cache may be anywhere in data/ and is in dvc.lock as it came:
    all of data/ is then taken from the cache again, as last committed, or made again.
    """
    names = shlex.join(str(path) for path in (*outputs, *cached))
    more = " data/*/ && git checkout HEAD dvc.lock" if cached else ""
    return f"not as recorded: {names}; mend with: rm -rf {names}{more} && dvc repro"
