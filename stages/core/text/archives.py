"""Unpacking archives that may be hostile."""

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from stages.core.launch.errors import InputError, is_disk_error

MAX_UNPACKED_BYTES = 4 * 2**30
MAX_MEMBERS = 200_000
SUFFIXES = (".whl", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# What the libraries raise over a damaged, an encrypted or a strangely compressed archive.
DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError),
    *(ValueError, RuntimeError, OverflowError, MemoryError, LookupError),
)


def is_archive(path: Path) -> bool:
    """Return whether `unpack` reads a file of that name."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip or tar `archive` into the directory `target`.

    Raises:
        InputError: the archive is damaged or encrypted, unpacks to more than 4 GiB or 200,000
            members, or holds a link, a device file, a name twice or a path that leads out of
            `target`.
    """
    try:
        if archive.name.lower().endswith((".whl", ".zip")):
            _check(archive, _zip_members(archive))
            shutil.unpack_archive(archive, target, "zip")
        else:  # compressed or not
            _check(archive, _tar_members(archive))
            shutil.unpack_archive(archive, target, "tar", filter="data")
    except DAMAGE as error:
        if is_disk_error(error):
            raise
        raise InputError(f"{archive.name} can't be unpacked ({error}); fetch it again") from error


Member = tuple[str, bool, int]  # its name, whether it is a plain file or directory, its size


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as bundle:
        for member in bundle.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
            yield member.filename, plain, member.file_size


def _tar_members(archive: Path) -> Iterator[Member]:
    # One by one, so that a bomb is noticed before all of it is decompressed.
    with tarfile.open(archive) as bundle:
        for member in bundle:
            yield member.name, member.isfile() or member.isdir(), member.size


def _check(archive: Path, members: Iterator[Member]) -> None:
    files: set[PurePosixPath] = set()
    total = 0
    for name, plain, size in members:
        path = PurePosixPath(name)
        total += size
        faults = {
            "a path out of its directory": path.is_absolute() or ".." in path.parts,
            "a name with backslashes, as old tools for Windows write it": "\\" in name,
            "a link or a device file": not plain,
            f"a size of {size} bytes": size < 0,
            "that name twice": path in files,
        }
        if fault := next((text for text, found in faults.items() if found), None):
            raise InputError(f"{archive.name} holds {name!r}, {fault}; pack it again without")
        files.add(path)
        if total > MAX_UNPACKED_BYTES or len(files) > MAX_MEMBERS:
            raise InputError(
                f"{archive.name} would unpack to {len(files)} members, {total / 2**30:.1f} GiB or "
                f"more, over the limit of {MAX_MEMBERS} and {MAX_UNPACKED_BYTES / 2**30:.0f} GiB; "
                "pack it again in parts"
            )
