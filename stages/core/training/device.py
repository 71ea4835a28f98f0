"""The device of a training and of its teacher's logits: the CPU or a GPU, and what it can do."""

import atexit
import sys
from datetime import timedelta

import cpuinfo
import torch
import torch.distributed as dist

from stages.core.launch.cores import cores
from stages.core.launch.errors import InputError
from stages.core.launch.processes import local_rank, local_world_size, under_torchrun, world_size

# Instructions that multiply bfloat16 numbers, of x86 and of ARM.
BF16 = {"avx512_bf16", "amx_bf16", "bf16"}


def begin(setting: str, processes: int) -> torch.device:
    """Return this process's device, and connect it with the others; each has its share of threads.

    On a GPU, TF32 is allowed: it rounds the factors of float32 products to 10 bits, on cards that
    have it.

    Raises:
        InputError: `setting` is `cuda`, but PyTorch finds no GPU; this host has fewer GPUs than
            processes; or torchrun has started another number than `processes`.
    """
    if world_size() != processes:
        raise InputError(
            f"processes = {processes}, but {world_size()} were started; use that number"
        )
    device = _device(setting)
    share = max(1, cores() // local_world_size())
    # Torch knows no CPU quota, and torchrun sets one thread for each process.
    torch.set_num_threads(share if under_torchrun() else min(torch.get_num_threads(), share))
    if processes > 1:
        # Long, because one process may wait for a measurement on its host; the launcher notices a
        # process that dies.
        backend = "gloo" if device.type == "cpu" else "nccl"
        hook = sys.excepthook
        dist.init_process_group(backend, timeout=timedelta(days=1))
        sys.excepthook = hook  # without PyTorch's own prefix
        atexit.register(dist.destroy_process_group)
    return device


def _device(setting: str) -> torch.device:
    if setting == "cpu" or (setting == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError(
            f"device = {setting}, but PyTorch {torch.__version__} finds no GPU; use auto or cpu, "
            "or install PyTorch's CUDA build and the driver"
        )
    if local_world_size() > (cards := torch.cuda.device_count()):
        raise InputError(
            f"{local_world_size()} processes on this host, but PyTorch finds {cards} GPUs; start "
            "no more than these, or use device=cpu"
        )
    torch.backends.cuda.matmul.allow_tf32 = True
    device = torch.device("cuda", local_rank())
    torch.cuda.set_device(device)
    return device


def described(device: torch.device) -> str:
    """Return the device's name for a reader."""
    return "the CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)


def cpu_has_bf16() -> bool:
    """Return whether this CPU has bfloat16 instructions, which PyTorch otherwise emulates.

    PyTorch's own answer alone is yes for every CPU with AVX-512.
    """
    flags = cpuinfo.get_cpu_info().get("flags", ())
    return bool(BF16 & {*flags}) and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def bf16_wanted(setting: str, device: torch.device) -> bool:
    """Return whether to compute under bfloat16 autocast on a device.

    Raises:
        InputError: it is `on`, but the device would emulate it, which is far slower.
    """
    if device.type == "cpu":
        supported = cpu_has_bf16()
    else:
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    if setting == "on" and not supported:
        raise InputError(
            f"bf16 = on, but {described(device)} has no bfloat16 instructions; use auto or off"
        )
    return setting != "off" and supported
