"""What a training and its teacher's logits make of this CPU."""

import cpuinfo
import torch
from transformers import set_seed

from stages.core.launch.cores import cores
from stages.core.launch.errors import InputError

# Instructions that multiply bfloat16 numbers, of x86 and of ARM.
BF16 = {"avx512_bf16", "amx_bf16", "bf16"}


def cpu_has_bf16() -> bool:
    """Return whether this CPU has bfloat16 instructions, which PyTorch otherwise emulates.

    PyTorch's own answer alone is yes for every CPU with AVX-512.
    """
    flags = cpuinfo.get_cpu_info().get("flags", ())
    return bool(BF16 & {*flags}) and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def begin(seed: int) -> None:
    """Seed all random numbers, and limit the threads."""
    set_seed(seed)
    limit_threads()


def limit_threads() -> None:
    """Use no more threads than this process may have cores."""
    torch.set_num_threads(min(torch.get_num_threads(), cores()))  # torch knows no CPU quota


def bf16_wanted(setting: str) -> bool:
    """Return whether to train under bfloat16 autocast.

    Raises:
        InputError: it is `on`, but this CPU would emulate it, which is far slower.
    """
    supported = cpu_has_bf16()
    if setting == "on" and not supported:
        raise InputError("bf16 = on, but this CPU has no bfloat16 instructions; use auto or off")
    return setting != "off" and supported
