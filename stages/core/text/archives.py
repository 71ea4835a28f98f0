"""Unpacking archives that may be hostile."""

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Self

from stages.core.launch.errors import InputError, is_disk_error

MAX_UNPACKED_BYTES = 4 * 2**30
MAX_MEMBERS = 100_000
MAX_HEADER_BYTES = 2**20
EXTENSIONS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
SUFFIXES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar")
# What the libraries raise over a damaged, an encrypted or a strangely compressed archive.
DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError),
    *(ValueError, RuntimeError, OverflowError, MemoryError, LookupError),
)


def is_archive(path: Path) -> bool:
    """Tell by its name whether `path` is an archive that `unpack` reads."""
    return path.name.endswith(SUFFIXES)


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip or tar `archive` into the directory `target`.

    Raises:
        InputError: the archive is damaged or encrypted, unpacks to more than 4 GiB or 100,000
            members, or holds a link, a device file, a name twice, a header over 1 MiB or a path
            that leads out of `target`.
    """
    try:
        if archive.name.endswith((".whl", ".zip")):
            with zipfile.ZipFile(archive) as bundle:
                _check(archive, map(_zip_member, bundle.infolist()))
                bundle.extractall(target)
        else:
            with tarfile.open(archive, tarinfo=_TarMember) as bundle:
                # One by one, so that a bomb is noticed before all of it is decompressed.
                _check(archive, map(_tar_member, bundle))
                bundle.extractall(target, filter="data")
    except DAMAGE as error:
        if is_disk_error(error):
            raise
        raise InputError(f"{archive.name} can't be unpacked ({error}); fetch it again") from error


class _TarMember(tarfile.TarInfo):
    """A member's header, or an extension of the next one's, which tarfile reads into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.type in EXTENSIONS and member.size > MAX_HEADER_BYTES:
            raise ValueError(f"a header of {member.size} bytes, more than {MAX_HEADER_BYTES}")
        if member.type == tarfile.GNUTYPE_SPARSE:
            cls._proc_gnusparse_10()
        return member

    @staticmethod
    def _proc_gnusparse_10(*_: object) -> None:
        raise ValueError("a sparse file, whose map may be of any size")


Member = tuple[str, bool, int]  # its name, whether it is a plain file or directory, its size


def _zip_member(member: zipfile.ZipInfo) -> Member:
    kind = stat.S_IFMT(member.external_attr >> 16)
    return member.filename, kind in (0, stat.S_IFREG, stat.S_IFDIR), member.file_size


def _tar_member(member: tarfile.TarInfo) -> Member:
    return member.name, member.isfile() or member.isdir(), member.size


def _check(archive: Path, members: Iterable[Member]) -> None:
    files: set[PurePosixPath] = set()
    total = 0
    for name, plain, size in members:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise InputError(f"{archive.name} holds {name!r}, a path out of its directory; refused")
        if not plain:
            raise InputError(f"{archive.name} holds {name!r}, a link or a device file; refused")
        if size < 0:
            raise InputError(f"{archive.name} holds {name!r} of {size} bytes; refused")
        if path in files:
            raise InputError(f"{archive.name} holds {name!r} twice; refused")
        files.add(path)
        total += size
        if total > MAX_UNPACKED_BYTES:
            raise InputError(
                f"{archive.name} would unpack to {total / 2**30:.1f} GiB or more, over the limit "
                f"of {MAX_UNPACKED_BYTES / 2**30:.0f} GiB; refused"
            )
        if len(files) > MAX_MEMBERS:
            raise InputError(f"{archive.name} holds more than {MAX_MEMBERS} members; refused")
