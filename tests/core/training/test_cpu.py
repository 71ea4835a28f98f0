import pytest
import torch

from stages.core.launch.errors import InputError
from stages.core.training import cpu
from stages.core.training.cpu import bf16_wanted


@pytest.mark.parametrize(
    ("setting", "supported", "wanted"),
    [("auto", True, True), ("auto", False, False), ("off", True, False), ("on", True, True)],
)
def test_bf16_follows_the_cpu(
    monkeypatch: pytest.MonkeyPatch, setting: str, supported: bool, wanted: bool
) -> None:
    monkeypatch.setattr("stages.core.training.cpu.cpu_has_bf16", lambda: supported)
    assert bf16_wanted(setting) is wanted


def test_bf16_is_refused_where_it_would_be_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.core.training.cpu.cpu_has_bf16", lambda: False)
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
    monkeypatch.setattr(cpu.cpuinfo, "get_cpu_info", lambda: {"flags": flags})
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: torchs)
    assert cpu.cpu_has_bf16() is expected


def test_training_takes_no_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    monkeypatch.setattr(cpu, "cores", lambda: 2)
    cpu.begin(13)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
