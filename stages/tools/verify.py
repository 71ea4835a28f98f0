"""Check outputs, their cache and reports against dvc.lock (`make verify`).

DVC trusts a file whose size and time are unchanged, and any read-only object of its cache: there, a
flipped bit reaches the next stage. Here, whatever dvc.lock names is read and hashed, and nothing
else: a cache may hold other projects' objects. It only reads.
"""

import hashlib
import json
import os
import shlex
import sys
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.scm import SCMError
from tqdm import tqdm

from stages.core.launch.errors import InputError
from stages.core.launch.paths import REPORTS, check_root

Outputs = dict[Path, str]  # digests by path


def mismatches() -> list[str]:
    """Return a message for everything that differs from dvc.lock.

    A missing output, such as data/ in a fresh clone, is not a mismatch; a missing report is.
    """
    outputs = recorded()
    missing = [path for path in outputs if REPORTS in path.parents and not path.exists()]
    messages = [f"{path} is missing; make it with: dvc repro" for path in missing]
    if found := damage(outputs):
        messages.append(found)
    if not outputs:
        messages.append("dvc.lock records no outputs; make them with: dvc repro")
    return messages


def recorded(revision: str | None = None) -> Outputs:
    """Return the outputs that dvc.lock names, here or in a git revision; InputError if damaged."""
    try:
        with Repo(rev=revision) as repo:
            found = {repo.fs.relpath(out.fs_path, repo.root_dir): out for out in repo.index.outs}
            return {Path(path): out.hash_info.value for path, out in found.items() if out.hash_info}
    except SCMError:  # outside git, or before the first commit
        return {}
    except DvcException as error:
        remedy = "git checkout HEAD dvc.lock && dvc repro"
        raise InputError(f"dvc.lock is damaged ({error}); restore it with: {remedy}") from error


def digest(path: Path) -> str:
    """Return the MD5 by which DVC knows a file or a directory."""
    if path.is_dir():
        files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*"))
        content = [{"md5": digest(file), "relpath": name} for name, file in files if file.is_file()]
        text = json.dumps(content).encode()
        return hashlib.md5(text, usedforsecurity=False).hexdigest() + ".dir"
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def damage(outputs: Outputs) -> str | None:
    """Name the damaged outputs and cache objects, and the command that restores them."""
    cache = Path(os.path.relpath(Repo().cache.local.path))
    # From a damaged object DVC restores an output, and records that in dvc.lock as it comes: only
    # the committed dvc.lock still names the object.
    ours, committed = (objects(cache, each) for each in (outputs, recorded("HEAD")))
    owners = committed | ours
    expected = {path: name for path, name in outputs.items() if path.exists()} | {
        path: f"{path.parent.name}{path.name}".removesuffix(".dir") for path in owners
    }
    files = tqdm(expected, desc="verify", unit="file", disable=None)
    damaged = [path for path in files if digest(path) != expected[path]]
    if not damaged:
        return None
    held = {owners[path] for path in damaged if path in owners}
    rest = [path for path in outputs if path in held and path.exists() and path not in damaged]
    if any(path in committed.keys() - ours.keys() for path in damaged):
        commands = [["rm", "-rf", *damaged, *rest], ["git", "checkout", "HEAD", "dvc.lock"]]
    else:  # the other outputs are as recorded: their objects are written from them
        commands = [["rm", "-rf", *damaged], *([["dvc", "commit", *rest]] if rest else [])]
    remedy = " && ".join(shlex.join(map(str, each)) for each in (*commands, ["dvc", "repro"]))
    return f"not as recorded: {shlex.join(map(str, damaged))}; restore with: {remedy}"


def objects(cache: Path, outputs: Outputs) -> dict[Path, Path]:
    """Return the cache objects that hold `outputs`, and which output each belongs to."""
    return {path: output for output, name in outputs.items() for path in members(cache, name)}


def members(cache: Path, name: str) -> list[Path]:
    """Return the cache objects of an output that exist: its own and, of a directory, its files'."""
    own = cache / name[:2] / name[2:]
    if not own.exists():
        return []
    if not name.endswith(".dir") or f"{digest(own)}.dir" != name:
        return [own]
    entries = [entry["md5"] for entry in json.loads(own.read_text())]
    files = [cache / entry[:2] / entry[2:] for entry in dict.fromkeys(entries)]
    return [own, *(file for file in files if file.exists())]


if __name__ == "__main__":
    check_root()
    if found := mismatches():
        sys.exit("\n".join(f"verify: {message}" for message in found))
    print("verify: everything here is as dvc.lock records it")
