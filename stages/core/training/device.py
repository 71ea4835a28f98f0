"""The device of a training and of its teacher's logits: the CPU or a GPU, and what it can do."""

import cpuinfo
import torch

from stages.core.launch.cores import cores
from stages.core.launch.errors import InputError

# Instructions that multiply bfloat16 numbers, of x86 and of ARM.
BF16 = {"avx512_bf16", "amx_bf16", "bf16"}


def begin(setting: str) -> torch.device:
    """Return the device that a setting stands for; limit the threads, and allow TF32 on a GPU.

    TF32 rounds the factors of float32 products to 10 bits, on cards that have it.

    Raises:
        InputError: it is `cuda`, but PyTorch finds no GPU.
    """
    torch.set_num_threads(min(torch.get_num_threads(), cores()))  # torch knows no CPU quota
    if setting == "cpu" or (setting == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError(
            f"device = {setting}, but PyTorch {torch.__version__} finds no GPU; use auto or cpu, "
            "or install PyTorch's CUDA build and the driver"
        )
    torch.backends.cuda.matmul.allow_tf32 = True
    return torch.device("cuda")


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
