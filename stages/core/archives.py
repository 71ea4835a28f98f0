"""Unpacking archives that may be hostile."""

import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from stages.core.errors import InputError

MAX_UNPACKED_BYTES = 4 * 2**30
SUFFIXES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar")


def is_archive(path: Path) -> bool:
    """Tell by its name whether `path` is an archive that `unpack` reads."""
    return path.name.endswith(SUFFIXES)


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip or tar `archive` into the directory `target`.

    Raises:
        InputError: the archive is damaged, unpacks to more than 4 GiB, or holds a link, a device
            file or a path that leads out of `target`.
    """
    try:
        if archive.name.endswith((".whl", ".zip")):
            _unpack_zip(archive, target)
        else:
            _unpack_tar(archive, target)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise InputError(f"{archive.name} can't be unpacked ({error}); fetch it again") from error


def _unpack_zip(archive: Path, target: Path) -> None:
    with zipfile.ZipFile(archive) as bundle:
        for member in bundle.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            _check_member(archive, member.filename, kind in (0, stat.S_IFREG, stat.S_IFDIR))
        _check_size(archive, sum(member.file_size for member in bundle.infolist()))
        bundle.extractall(target)


def _unpack_tar(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as bundle:
        members = bundle.getmembers()
        for member in members:
            _check_member(archive, member.name, member.isfile() or member.isdir())
        _check_size(archive, sum(member.size for member in members))
        bundle.extractall(target, filter="data")


def _check_member(archive: Path, name: str, plain: bool) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise InputError(f"{archive.name} holds {name!r}, a path out of its directory; refused")
    if not plain:
        raise InputError(f"{archive.name} holds {name!r}, a link or a device file; refused")


def _check_size(archive: Path, size: int) -> None:
    if size > MAX_UNPACKED_BYTES:
        raise InputError(
            f"{archive.name} would unpack to {size / 2**30:.1f} GiB, over the limit of "
            f"{MAX_UNPACKED_BYTES / 2**30:.0f} GiB; refused"
        )
