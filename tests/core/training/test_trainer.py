from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest
import torch
from transformers import TrainerState, TrainingArguments

from stages.core.launch.errors import InputError
from stages.core.training import trainer
from stages.core.training.trainer import (
    FiniteLoss,
    bf16_wanted,
    kept_accuracy,
    learning_curve,
    save_run,
)


def test_the_learning_curve_has_one_row_an_epoch() -> None:
    history = [
        {"loss": 0.5, "learning_rate": 1e-4, "epoch": 1.0},
        {"eval_loss": 0.4, "eval_accuracy": 0.8, "epoch": 1.0},
        {"loss": 0.3, "learning_rate": 0.0, "epoch": 2.0},
        {"eval_loss": 0.35, "eval_accuracy": 0.9, "epoch": 2.0},
        {"train_runtime": 9.0, "train_loss": 0.4, "epoch": 2.0},
    ]
    expected = pd.DataFrame(
        {
            "epoch": [1.0, 2.0],
            "train_loss": [0.5, 0.3],
            "validation_loss": [0.4, 0.35],
            "validation_accuracy": [0.8, 0.9],
        }
    )
    pd.testing.assert_frame_equal(learning_curve(history), expected)


def test_the_reported_accuracy_is_the_kept_epochs_and_rounded_in_the_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    history = [
        {"loss": 0.5, "eval_loss": 0.30504, "eval_accuracy": 0.80001, "epoch": 1.0},
        {"loss": 0.4, "eval_loss": 0.30496, "eval_accuracy": 0.90001, "epoch": 2.0},
    ]
    curve = learning_curve(history)
    assert kept_accuracy(curve) == 0.90001
    save_run(Mock(), Mock(), curve, tmp_path / "model", tmp_path / "curve.csv", Mock())
    written = pd.read_csv("curve.csv")
    assert written["validation_loss"].tolist() == [0.305, 0.305]
    assert written["validation_accuracy"].tolist() == [0.8, 0.9]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_non_finite_validation_loss_names_the_learning_rate(loss: float) -> None:
    arguments, state = TrainingArguments(learning_rate=0.5), TrainerState(epoch=2.0)
    message = rf"^distill.learning_rate = 0.5: the validation loss is {loss} after epoch 2; use"
    with pytest.raises(InputError, match=message):
        FiniteLoss("distill").on_evaluate(arguments, state, metrics={"eval_loss": loss})


@pytest.mark.parametrize(
    ("setting", "supported", "wanted"),
    [("auto", True, True), ("auto", False, False), ("off", True, False), ("on", True, True)],
)
def test_bf16_follows_the_cpu(
    monkeypatch: pytest.MonkeyPatch, setting: str, supported: bool, wanted: bool
) -> None:
    monkeypatch.setattr("stages.core.training.trainer.cpu_has_bf16", lambda: supported)
    assert bf16_wanted(setting) is wanted


def test_bf16_is_refused_where_it_would_be_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.core.training.trainer.cpu_has_bf16", lambda: False)
    with pytest.raises(InputError, match="no bfloat16 instructions; use auto or off"):
        bf16_wanted("on")


@pytest.mark.parametrize(
    ("flags", "torchs", "expected"),
    [
        (["avx512f", "avx512bw", "avx512_vnni"], True, False),  # which PyTorch would emulate
        (["avx512f", "avx512_bf16"], True, True),
        (["amx_bf16"], True, True),
        (["asimd", "bf16"], True, True),
        (["avx512_bf16"], False, False),  # as with ONEDNN_MAX_CPU_ISA
        ([], False, False),
    ],
)
def test_bfloat16_is_a_cpus_own_instructions(
    monkeypatch: pytest.MonkeyPatch, flags: list[str], torchs: bool, expected: bool
) -> None:
    monkeypatch.setattr(trainer.cpuinfo, "get_cpu_info", lambda: {"flags": flags})
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: torchs)
    assert trainer.cpu_has_bf16() is expected


def test_training_takes_no_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    monkeypatch.setattr(trainer, "cores", lambda: 2)
    trainer.begin(13)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
