import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from stages import fetch
from stages.core.config import PackageSource
from stages.core.errors import InputError
from stages.core.layout import CORPUS_SOURCE, ENCODER

ROOT = Path(__file__).parents[1]


def test_a_local_encoder_comes_without_pickle_and_code(
    empty: Callable, sources: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(sources / "encoder", mine)
    for name in ("pytorch_model.bin", "modeling_evil.py"):
        (mine / name).touch()
    empty("fetch", "fetch.item=encoder", f"model.source.path={mine}")
    names = {path.name for path in ENCODER.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not names & {"pytorch_model.bin", "modeling_evil.py"}


def test_a_local_directory_of_texts_keeps_its_shape(empty: Callable, tmp_path: Path) -> None:
    for name in ("a/texts.csv", "b/texts.jsonl", "notes.md"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text("x")
    empty("fetch", "fetch.item=corpus", f"data.source.path={tmp_path / 'mine'}")
    files = sorted(str(p.relative_to(CORPUS_SOURCE)) for p in CORPUS_SOURCE.rglob("*.*"))
    assert files == ["a/texts.csv", "b/texts.jsonl"]


def test_a_checkpoint_that_needs_its_own_code_is_refused(
    empty: Callable, sources: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(sources / "encoder", mine)
    config = json.loads((mine / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "modeling_evil.Model"}
    (mine / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"needs code of its own .*refused"):
        empty("fetch", "fetch.item=encoder", f"model.source.path={mine}")


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_an_incomplete_encoder_is_refused(
    empty: Callable, sources: Path, tmp_path: Path, missing: str
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in (sources / "encoder").iterdir():
        if file.name != missing and not (missing.startswith("tok") and file.name == "vocab.txt"):
            (broken / file.name).write_bytes(file.read_bytes())
    with pytest.raises(InputError, match="save_pretrained"):
        empty("fetch", "fetch.item=encoder", f"model.source.path={broken}")
    assert not ENCODER.exists()


def test_a_missing_path_is_named_and_nothing_is_written(empty: Callable) -> None:
    with pytest.raises(InputError, match=r"nowhere does not exist; correct source.path"):
        empty("fetch", "fetch.item=corpus", "data.source.path=nowhere")
    assert not CORPUS_SOURCE.exists()


def test_a_failed_fetch_keeps_what_was_there(project: Callable) -> None:
    before = sorted(CORPUS_SOURCE.rglob("*"))
    with pytest.raises(InputError):
        project("fetch", "fetch.item=corpus", "data.source.path=nowhere")
    assert sorted(CORPUS_SOURCE.rglob("*")) == before


def make_wheel(directory: Path) -> tuple[Path, str]:
    """Write a wheel that holds texts/train.csv; return it and its sha256."""
    directory.mkdir()
    wheel = directory / "toy_texts-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as bundle:
        bundle.writestr("texts/train.csv", "text,label\ngood,1\nbad,0\n")
        bundle.writestr("toy_texts-1.0.dist-info/METADATA", "Name: toy-texts\nVersion: 1.0\n")
        bundle.writestr(
            "toy_texts-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        bundle.writestr("toy_texts-1.0.dist-info/RECORD", "")
    return wheel, hashlib.sha256(wheel.read_bytes()).hexdigest()


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the real pip find toy-texts==1.0 in a directory; return its sha256."""
    path, digest = make_wheel(tmp_path / "wheels")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return digest


def package(digest: str, member: str = "texts") -> PackageSource:
    return PackageSource(
        kind="package", watch=".", requirement="toy-texts==1.0", sha256=digest, member=member
    )


def test_a_package_is_downloaded_by_hash_and_unpacked(wheel: str, tmp_path: Path) -> None:
    found = fetch.download_package(package(wheel), tmp_path)
    assert (found / "train.csv").read_text().startswith("text,label")


def test_a_wrong_hash_names_both_hashes(wheel: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"has sha256 {wheel}, not {'0' * 64}"):
        fetch.download_package(package("0" * 64), tmp_path)


@pytest.mark.parametrize("member", ["nothing", "../../outside"])
def test_a_member_that_is_not_there_is_named(wheel: str, tmp_path: Path, member: str) -> None:
    with pytest.raises(InputError, match=r"holds no .*correct source.member"):
        fetch.download_package(package(wheel, member), tmp_path)


def test_a_package_that_is_not_there_is_named(wheel: str, tmp_path: Path) -> None:
    source = PackageSource(
        kind="package", watch=".", requirement="toy-texts==2.0", sha256=wheel, member="texts"
    )
    with pytest.raises(InputError, match=r"could not download toy-texts==2.0 .*check"):
        fetch.download_package(source, tmp_path)


class Hub(http.server.BaseHTTPRequestHandler):
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

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def hub() -> Iterator[str]:
    """Serve a Hub on the loopback interface; yield its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def fetch_from_hub(endpoint: str, cwd: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Run the real command with the real client against `endpoint`."""
    (cwd / "dvc.yaml").touch()
    command = [
        *(sys.executable, str(ROOT / "stages" / "fetch.py"), "fetch.item=corpus"),
        *("model=bert-base", f"model.source.revision={Hub.revision}"),
        *("model.source.repo=toy/texts", "data=sst2", "data.source.repo=toy/texts", *overrides),
    ]
    environment = os.environ | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(cwd / "hub-home"),
        "HF_HUB_ETAG_TIMEOUT": "2",
    }
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_the_hub_gives_the_files_of_the_pinned_revision(hub: str, tmp_path: Path) -> None:
    Hub.files = {"data/train-00000.parquet": b"rows", "pickle.bin": b"no", "data/evil.py": b"no"}
    done = fetch_from_hub(hub, tmp_path)
    assert done.returncode == 0, done.stderr
    files = [path for path in (tmp_path / CORPUS_SOURCE).rglob("*") if path.is_file()]
    assert [path.name for path in files] == ["train-00000.parquet"]
    assert files[0].read_bytes() == b"rows"


def test_the_hub_gives_an_encoder(hub: str, tmp_path: Path, sources: Path) -> None:
    Hub.files = {file.name: file.read_bytes() for file in (sources / "encoder").iterdir()}
    Hub.files["pytorch_model.bin"] = b"no"
    done = fetch_from_hub(hub, tmp_path, "fetch.item=encoder")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / ENCODER).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert "pytorch_model.bin" not in names


def test_a_hub_encoder_without_a_tokenizer_is_named(
    hub: str, tmp_path: Path, sources: Path
) -> None:
    encoder = sources / "encoder"
    Hub.files = {
        name: (encoder / name).read_bytes() for name in ("config.json", "model.safetensors")
    }
    done = fetch_from_hub(hub, tmp_path, "fetch.item=encoder")
    assert done.returncode == 1
    assert "Hub repository toy/texts at 8d51e7e4 has no tokenizer" in done.stderr


@pytest.mark.parametrize("case", ["unreachable", "unknown revision", "unknown repository"])
def test_a_hub_that_gives_nothing_is_one_message(hub: str, tmp_path: Path, case: str) -> None:
    Hub.files = {"data/train-00000.parquet": b"rows"}
    endpoint = "http://127.0.0.1:9" if case == "unreachable" else hub
    overrides = {
        "unreachable": [],
        "unknown revision": [f"data.source.revision={'0' * 40}"],
        "unknown repository": ["data.source.repo=no/where"],
    }[case]
    done = fetch_from_hub(endpoint, tmp_path, *overrides)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "use a local copy" in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / CORPUS_SOURCE).exists()
