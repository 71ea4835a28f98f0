import tracemalloc
from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict
from transformers import DistilBertConfig, DistilBertModel

from stages.core.training.resuming import COMPLETE, last_checkpoint, run_key, seal

FILES = ("model.safetensors", "trainer_state.json", "weights.safetensors")


def checkpoint(directory: Path, step: int = 1) -> Path:
    path = directory / f"checkpoint-{step}"
    path.mkdir(parents=True)
    for file in FILES:
        (path / file).write_bytes(bytes(range(100)))
    seal(path)
    return path


def test_a_run_resumes_its_last_complete_checkpoint_and_removes_all_others(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    kept = [checkpoint(mine, 9), checkpoint(mine, 10)]
    (checkpoint(mine, 11) / COMPLETE).unlink()
    checkpoint(other)
    assert last_checkpoint(mine) == str(mine / "checkpoint-10")
    assert sorted(mine.iterdir()) == sorted(kept)
    assert [*tmp_path.iterdir()] == [mine]


def test_a_run_without_checkpoints_starts_at_the_beginning(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path / "runs" / "mine") is None


def test_every_input_of_a_run_is_in_its_key() -> None:
    def model(dropout: float = 0.1) -> DistilBertModel:
        config = DistilBertConfig(
            vocab_size=9, n_layers=1, dim=4, n_heads=1, hidden_dim=4, dropout=dropout
        )
        return DistilBertModel(config)

    def corpus(*labels: int) -> DatasetDict:
        return DatasetDict({"train": Dataset.from_dict({"label": labels})})

    first = model()
    again, regularized = model(), model(dropout=0.3)
    regularized.load_state_dict(first.state_dict())
    runs = [
        (first, corpus(0, 1), {"epochs": 1}, 13),
        (again, corpus(0, 1), {"epochs": 1}, 13),
        (regularized, corpus(0, 1), {"epochs": 1}, 13),
        (first, corpus(0, 0), {"epochs": 1}, 13),
        (first, corpus(0, 1), {"epochs": 2}, 13),
        (first, corpus(0, 1), {"epochs": 1}, 14),
    ]
    keys = [run_key(*run) for run in runs]
    assert len({*keys}) == len(runs)
    again.load_state_dict(first.state_dict())
    again.config.name_or_path = "another"  # where a checkpoint was unpacked
    assert run_key(again, *runs[0][1:]) == keys[0]


def test_a_key_makes_no_python_number_of_every_token() -> None:
    ids = np.zeros((2_000, 500), dtype=np.int32)
    corpus = DatasetDict({"train": Dataset.from_dict({"input_ids": ids})})
    model = DistilBertModel(
        DistilBertConfig(vocab_size=9, n_layers=1, dim=4, n_heads=1, hidden_dim=4)
    )
    tracemalloc.start()
    run_key(model, corpus)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**22  # of a million tokens, which would take 8 MB as pointers alone
