import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from stages.core import archives
from stages.core.archives import unpack
from stages.core.errors import InputError


def make_tar(path: Path, name: str, kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz") as bundle:
        member = tarfile.TarInfo(name)
        member.type = kind
        member.linkname = "/etc/passwd" if kind != tarfile.REGTYPE else ""
        content = b"text" if kind == tarfile.REGTYPE else b""
        member.size = len(content)
        bundle.addfile(member, io.BytesIO(content))
    return path


def make_zip(path: Path, name: str, mode: int = stat.S_IFREG) -> Path:
    with zipfile.ZipFile(path, "w") as bundle:
        member = zipfile.ZipInfo(name)
        member.external_attr = (mode | 0o644) << 16
        bundle.writestr(member, "text")
    return path


@pytest.mark.parametrize("suffix", [".tar.gz", ".whl", ".zip"])
def test_unpacks_plain_files(tmp_path: Path, suffix: str) -> None:
    make = make_tar if suffix == ".tar.gz" else make_zip
    archive = make(tmp_path / f"bundle{suffix}", "folder/file.txt")
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / "folder" / "file.txt").read_text() == "text"


@pytest.mark.parametrize("name", ["/absolute.txt", "../outside.txt", "a/../../outside.txt"])
@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
def test_refuses_paths_that_lead_out(tmp_path: Path, name: str, suffix: str) -> None:
    make = make_tar if suffix == ".tar.gz" else make_zip
    archive = make(tmp_path / f"bundle{suffix}", name)
    with pytest.raises(InputError, match="out of its directory"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_refuses_links_and_devices_in_a_tar(tmp_path: Path, kind: bytes) -> None:
    archive = make_tar(tmp_path / "bundle.tar.gz", "file.txt", kind)
    with pytest.raises(InputError, match="link or a device"):
        unpack(archive, tmp_path / "out")


def test_refuses_a_link_in_a_zip(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "bundle.zip", "file.txt", stat.S_IFLNK)
    with pytest.raises(InputError, match="link or a device"):
        unpack(archive, tmp_path / "out")


def test_refuses_what_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 3)
    for archive in (
        make_tar(tmp_path / "bundle.tar.gz", "file.txt"),
        make_zip(tmp_path / "bundle.zip", "file.txt"),
    ):
        with pytest.raises(InputError, match="over the limit"):
            unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("suffix", [".tar.gz", ".whl"])
def test_names_a_damaged_archive(tmp_path: Path, suffix: str) -> None:
    archive = tmp_path / f"bundle{suffix}"
    archive.write_bytes(b"no archive at all")
    with pytest.raises(InputError, match="can't be unpacked"):
        unpack(archive, tmp_path / "out")
