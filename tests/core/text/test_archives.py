import io
import stat
import tarfile
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.launch.errors import InputError
from stages.core.text import archives
from stages.core.text.archives import unpack


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


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_refuses_links_and_devices_in_a_tar(tmp_path: Path, kind: bytes) -> None:
    archive = make_tar(tmp_path / "bundle.tar.gz", "file.txt", kind)
    with pytest.raises(InputError, match="link or a device"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_refuses_links_and_devices_in_a_zip(tmp_path: Path, mode: int) -> None:
    archive = make_zip(tmp_path / "bundle.zip", "file.txt", mode)
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


def tar_of(path: Path, *members: tarfile.TarInfo) -> Path:
    """Write a tar of headers alone: what they declare is not there."""
    path.write_bytes(b"".join(member.tobuf() for member in members) + b"\0" * 1024)
    return path


def test_refuses_a_tar_that_declares_too_much(tmp_path: Path) -> None:
    member = tarfile.TarInfo("large.txt")
    member.size = 2**40
    with pytest.raises(InputError, match=r"1024\.0 GiB or more, over the limit"):
        unpack(tar_of(tmp_path / "bomb.tar", member), tmp_path / "out")


@pytest.mark.parametrize("size", [-1, -(2**60), 2**41, 2**63])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE])
def test_refuses_a_tar_whose_sizes_are_none(tmp_path: Path, size: int, kind: bytes) -> None:
    member = tarfile.TarInfo("a")
    member.type, member.size = kind, size
    archive = tmp_path / "odd.tar"
    archive.write_bytes(member.tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024)
    with pytest.raises(InputError, match=r"pack it again|can't be unpacked"):
        unpack(archive, tmp_path / "out")


def test_unpacks_a_long_name(tmp_path: Path) -> None:
    name = "/".join(["folder" * 20] * 3 + ["file.txt"])
    archive = make_tar(tmp_path / "bundle.tar.gz", name)
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / name).read_text() == "text"


def test_a_zip_that_holds_more_than_it_declares_is_damaged(tmp_path: Path) -> None:
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("zeros.txt", bytes(2**20))
    small, large = (size.to_bytes(4, "little") for size in (100, 2**20))
    archive.write_bytes(archive.read_bytes().replace(large, small))
    with pytest.raises(InputError, match="can't be unpacked"):
        unpack(archive, tmp_path / "out")
    assert sum(file.stat().st_size for file in (tmp_path / "out").rglob("*")) <= 100


def test_a_zip_with_a_nameless_member_is_damaged(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "bundle.zip", "a")
    archive.write_bytes(archive.read_bytes().replace(b"a", b"\0"))
    with pytest.raises(InputError, match="can't be unpacked"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_refuses_too_many_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 10)
    archive = tmp_path / f"bundle{suffix}"
    names = [f"{i}.txt" for i in range(11)]
    if suffix == ".tar":
        tar_of(archive, *map(tarfile.TarInfo, names))
    else:
        with zipfile.ZipFile(archive, "w") as bundle:
            for name in names:
                bundle.writestr(name, "")
    with pytest.raises(InputError, match="would unpack to 11 members"):
        unpack(archive, tmp_path / "out")


def test_names_with_backslashes_are_told_from_paths_that_lead_out(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "bundle.zip", "texts\\train.csv")
    with pytest.raises(InputError, match="a name with backslashes, as old tools for Windows"):
        unpack(archive, tmp_path / "out")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("suffix", [".tar", ".zip"])
@pytest.mark.parametrize("twin", ["a.txt", "./a.txt"])
def test_refuses_a_name_that_is_there_twice(tmp_path: Path, suffix: str, twin: str) -> None:
    archive = tmp_path / f"bundle{suffix}"
    if suffix == ".tar":
        tar_of(archive, tarfile.TarInfo("a.txt"), tarfile.TarInfo(twin))
    else:
        with zipfile.ZipFile(archive, "w") as bundle:
            bundle.writestr("a.txt", "one")
            bundle.writestr(twin, "two")
    with pytest.raises(InputError, match="twice; pack it again"):
        unpack(archive, tmp_path / "out")


def test_a_file_where_a_directory_should_be_is_one_message(tmp_path: Path) -> None:
    archive = tmp_path / "bundle.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr("a", "")
        bundle.writestr("a/b", "")
    with pytest.raises(InputError, match="can't be unpacked"):
        unpack(archive, tmp_path / "out")


def test_an_encrypted_zip_is_one_message(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "bundle.zip", "file.txt")
    content = bytearray(archive.read_bytes())
    content[6] |= 1  # the flag, in the member's own header …
    content[content.index(b"PK\x01\x02") + 8] |= 1  # … and in the archive's directory
    archive.write_bytes(content)
    with pytest.raises(InputError, match="encrypted"):
        unpack(archive, tmp_path / "out")


@settings(deadline=None, max_examples=300)
@given(
    suffix=st.sampled_from([".tar", ".tar.gz", ".zip"]),
    edits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8),
    length=st.integers(0, 10**6),
)
def test_a_damaged_archive_is_unpacked_or_one_message(
    suffix: str, edits: list[tuple[int, int]], length: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory, f"bundle{suffix}")
        if suffix == ".zip":
            make_zip(archive, "folder/file.txt")
        else:
            make_tar(archive, "folder/file.txt")
            if suffix == ".tar":
                with tarfile.open(archive) as bundle:
                    tar_of(archive, *bundle.getmembers())
        content = bytearray(archive.read_bytes())
        for place, byte in edits:
            content[place % len(content)] = byte
        archive.write_bytes(content[:length])
        with suppress(InputError):
            unpack(archive, Path(directory, "out"))
