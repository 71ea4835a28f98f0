"""The real config, composed and shrunk, and a whole experiment on a toy encoder and toy texts."""

import importlib
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cpuinfo
import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from transformers import BertConfig, BertModel, BertTokenizerFast

from stages.core.launch.parse import parse
from stages.core.launch.settings import Settings
from stages.core.serving.variant import ROLES, variants

os.environ["DVC_NO_ANALYTICS"] = "1"  # of the repositories that tests make

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
FORMS = ["pytorch", "onnx", "int8", "openvino"]
QUANTIZED = FORMS[2:]
VARIANTS = [variant.name for variant in variants(FORMS)]

# Toy models are too small for two threads to help, and two suffer when another process is busy.
torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Load variants, too, on one thread: PyTorch's number of threads is the whole process's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stages.core.serving.classifier.cores", lambda: 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_look_at_the_cpu() -> Iterator[None]:
    """Ask py-cpuinfo once: each time, it measures the clock for a second in two processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpuinfo, "get_cpu_info", cache(cpuinfo.get_cpu_info))
        yield


GOOD, BAD = ("good", "great", "fine", "lovely"), ("bad", "awful", "poor", "dull")
FILLERS = ("a", "the", "film", "plot", "very", "quite", "and", "was", "it", "music", "story")

Make = Callable[[Path], None]  # fills a directory

STEPS = [
    ("machine",),
    ("fetch", "run.item=encoder"),
    ("fetch", "run.item=corpus"),
    ("prepare",),
    ("finetune",),
    ("augment",),
    ("label",),
    ("distill",),
    *(("export", f"run.model={model}") for model in ROLES),
    *(
        ("quantize", f"run.model={each.model}", f"run.form={each.form}")
        for each in variants(QUANTIZED)
    ),
    *(("evaluate", f"run.model={each.model}", f"run.form={each.form}") for each in variants(FORMS)),
    ("benchmark",),
    ("load",),
    ("profiling",),
    ("report",),
    ("release",),
]


@pytest.fixture(scope="session", autouse=True)
def own_lock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Take turns among these tests alone: a measurement on this machine need not wait for them."""
    directory = tmp_path_factory.mktemp("lock")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BERT_LATENCY_LOCKS", str(directory))
        patch.setattr("stages.core.launch.lock.DIRECTORY", directory)
        yield


def composed(*overrides: str) -> DictConfig:
    """Return the composition of conf/ with `overrides`."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=list(overrides))


@cache  # settings are immutable, and composing them takes a tenth of a second
def configured(*overrides: str) -> Settings:
    """Return the settings of conf/ with `overrides`."""
    return parse(composed(*overrides), Settings)


def run_stage(stage: str, *overrides: str) -> str:
    """Run a stage in process, in the current directory, on the composed config."""
    module = importlib.import_module(f"stages.{stage}")
    return module.run(configured(*overrides))


def make_root(directory: Path) -> None:
    """Make a directory a project's root, with the real config."""
    (directory / "dvc.yaml").touch()
    (directory / "conf").symlink_to(CONF)


def make_encoder(directory: Path) -> Path:
    """Write a BERT of three tiny layers with a tokenizer that knows the toy words."""
    directory.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *GOOD, *BAD, *FILLERS]
    (directory / "vocab.txt").write_text("\n".join(words) + "\n")
    BertTokenizerFast(str(directory / "vocab.txt")).save_pretrained(directory)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.1,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(directory)
    return directory


def make_texts(rows: int, seed: int = 0) -> pd.DataFrame:
    """Return distinct toy texts whose label some of their words tell."""
    random = np.random.default_rng(seed)
    seen: dict[str, str] = {}
    while len(seen) < rows:
        label = ("negative", "positive")[len(seen) % 2]
        telling = random.choice(GOOD if label == "positive" else BAD, 3)
        words = [*telling, *random.choice(FILLERS, random.integers(3, 9))]
        seen.setdefault(" ".join(random.permutation(words)), label)
    return pd.DataFrame({"text": seen.keys(), "label": seen.values()})


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Make], Path]:
    """Return what gives a directory that the first test process to need it makes for all."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def directory(name: str, make: Make) -> Path:
        made = base / f"{name}.made"
        with FileLock(base / f"{name}.lock"):
            if not made.exists():
                shutil.rmtree(base / name, ignore_errors=True)  # of one that failed
                (base / name).mkdir()
                make(base / name)
                made.touch()
        return base / name

    return directory


@pytest.fixture(scope="session")
def sources(shared: Callable[[str, Make], Path]) -> Path:
    """Return a directory with encoder/ and texts/ (train.csv, unlabelled.csv)."""

    def make(directory: Path) -> None:
        make_encoder(directory / "encoder")
        (directory / "texts").mkdir()
        make_texts(240).to_csv(directory / "texts" / "train.csv", index=False)
        unlabelled = make_texts(60, seed=1)[["text"]]
        unlabelled.to_csv(directory / "texts" / "unlabelled.csv", index=False)

    return shared("sources", make)


@pytest.fixture(scope="session")
def tiny(sources: Path) -> list[str]:
    """Return the overrides that shrink the real config to the toy experiment."""
    return [
        "model=local",
        f"model.source.path={sources / 'encoder'}",
        "model.max_length=32",
        "data=local",
        f"data.source.path={sources / 'texts'}",
        "data.files.transfer=[unlabelled.csv]",
        "finetune.epochs=5",
        "finetune.learning_rate=3e-3",
        "finetune.batch_size=8",
        "finetune.average_decay=0.9",
        "finetune.consistency_weight=1",
        "augment.spans=1",
        "augment.joined=0",
        "distill.epochs=5",
        "distill.learning_rate=3e-3",
        "distill.batch_size=8",
        "distill.average_decay=0.9",
        "distill.label_weight=0",  # whatever the student knows, the teacher has taught
        "student=minilm-3l",
        "student.n_layers=2",
        "student.hidden_dim=40",
        "quantize.openvino.texts=20",
        "benchmark.threads=1",
        "benchmark.rounds=6",
        "benchmark.calls=2",
        "benchmark.tail_calls=4",
        "benchmark.seconds=0",
        "benchmark.warmup=1",
        "benchmark.sweep.rounds=1",
        "benchmark.sweep.seconds=0",
        "benchmark.sweep.lengths=[8,32,256]",  # the encoder has 64 positions
        "benchmark.sweep.batch_sizes=[1,3]",
        "load.seconds=0.2",
        "load.batch=3",
        "profile.texts=8",
        "report.sla_percentile=50",
        "report.quality_loss=0.9",  # so that some variant is recommended, and released
    ]


@pytest.fixture(scope="session")
def lean(tiny: list[str]) -> list[str]:
    """Return `tiny` in two forms, for runs by DVC, where each has a process of its own a stage."""
    kept = [each for each in tiny if "openvino" not in each]
    return [*kept, "quantize=int8", "forms=[pytorch,int8]"]


@pytest.fixture(scope="session")
def finished(shared: Callable[[str, Make], Path], tiny: list[str]) -> Path:
    """Return the directory of an experiment that every stage has run in."""

    def make(directory: Path) -> None:
        make_root(directory)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(directory)
            for stage, *overrides in STEPS:
                run_stage(stage, *tiny, *overrides)

    return shared("finished", make)


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Begin with the fast tests that need the finished experiment: the others run meanwhile."""
    items.sort(key=lambda item: "finished" not in item.fixturenames or "slow" in item.keywords)


@pytest.fixture
def project(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: list[str]
) -> Callable[..., Any]:
    """Enter a copy of the finished experiment; return what runs a stage in it."""
    copy = shutil.copytree(finished, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(copy)
    return lambda stage, *overrides: run_stage(stage, *tiny, *overrides)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: list[str]) -> Callable[..., Any]:
    """Enter an empty project; return what runs a stage in it."""
    make_root(tmp_path)
    monkeypatch.chdir(tmp_path)
    return lambda stage, *overrides: run_stage(stage, *tiny, *overrides)
