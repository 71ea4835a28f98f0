from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from stages.core.launch.errors import InputError
from stages.core.training import device, trainer
from stages.core.training.device import begin, bf16_wanted
from tests.conftest import configured

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let PyTorch believe in two GPUs, which nothing may compute on."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA T4")
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = False


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize("setting", ["auto", "cpu"])
def test_without_a_gpu_the_cpu_trains(no_gpu: None, setting: str) -> None:
    assert begin(setting, 1) == CPU


@pytest.mark.parametrize(("setting", "expected"), [("auto", CUDA), ("cuda", CUDA), ("cpu", CPU)])
def test_auto_takes_the_gpu_and_allows_tf32(
    two_gpus: None, setting: str, expected: torch.device
) -> None:
    assert begin(setting, 1) == expected
    assert torch.backends.cuda.matmul.allow_tf32 is (expected == CUDA)


@pytest.mark.parametrize("stage", ["finetune", "label", "distill"])
def test_a_gpu_that_is_not_there_is_refused_before_anything_is_read(
    no_gpu: None, empty: Callable, stage: str
) -> None:
    with pytest.raises(InputError, match=r"^device = cuda, but PyTorch 2.* finds no GPU; use auto"):
        empty(stage, "device=cuda")


def grouped(monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    """Let this process be the first of so many on this host."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, str(processes))


def test_torchruns_single_thread_is_no_limit(no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    grouped(monkeypatch, 2)
    monkeypatch.setattr(device, "cores", lambda: 8)
    monkeypatch.setattr(device.dist, "init_process_group", lambda *_, **__: None)
    monkeypatch.setattr(device.atexit, "register", lambda _: None)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        begin("cpu", 2)
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_more_processes_than_gpus_are_refused(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    grouped(monkeypatch, 3)
    with pytest.raises(InputError, match=r"^3 processes on this host, .* 2 GPUs; start no"):
        begin("auto", 3)


def test_a_torchrun_of_other_than_the_settings_processes_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grouped(monkeypatch, 2)
    with pytest.raises(InputError, match=r"^processes = 1, but 2 were started"):
        begin("cpu", 1)


def test_a_gpu_trains_the_same_batches_as_the_cpu(two_gpus: None) -> None:
    config = configured().finetune
    chosen = begin("auto", 1)
    bf16 = bf16_wanted("auto", chosen)
    arguments = trainer._arguments(config, Path("unused"), 13, chosen, bf16)
    assert (arguments.device.type, arguments.bf16) == ("cuda", True)
    assert arguments.n_gpu == 1  # with more, the Trainer would take as many batches a step
    assert arguments.train_batch_size == config.batch_size


@pytest.mark.parametrize("where", [CPU, CUDA])
@pytest.mark.parametrize(
    ("setting", "supported", "wanted"),
    [("auto", True, True), ("auto", False, False), ("off", True, False), ("on", True, True)],
)
def test_bf16_follows_the_device(
    monkeypatch: pytest.MonkeyPatch,
    where: torch.device,
    setting: str,
    supported: bool,
    wanted: bool,
) -> None:
    answers = {CPU: not supported, CUDA: not supported} | {where: supported}
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: answers[CPU])
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: answers[CUDA])
    assert bf16_wanted(setting, where) is wanted


@pytest.mark.parametrize(("where", "name"), [(CPU, "the CPU"), (CUDA, "NVIDIA T4")])
def test_bf16_is_refused_where_it_would_be_emulated(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch, where: torch.device, name: str
) -> None:
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: False)
    # A T4 emulates it, which PyTorch counts unless told not to.
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation
    )
    assert bf16_wanted("auto", where) is False
    with pytest.raises(InputError, match=f"{name} has no bfloat16 instructions; use auto or off"):
        bf16_wanted("on", where)


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
    monkeypatch.setattr(device.cpuinfo, "get_cpu_info", lambda: {"flags": flags})
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: torchs)
    assert device.cpu_has_bf16() is expected


def test_training_takes_no_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    monkeypatch.setattr(device, "cores", lambda: 2)
    begin("cpu", 1)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
