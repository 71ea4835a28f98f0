"""Collective operations of the processes of one training; in a single one, no-ops."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from stages.core.launch.processes import rank, world_size

T = TypeVar("T")


def from_rank_zero(make: Callable[[], T]) -> T:
    """Return what rank zero makes, in every process."""
    if world_size() == 1:
        return make()
    box: list[Any] = [make() if rank() == 0 else None]
    dist.broadcast_object_list(box)
    made: T = box[0]
    return made


def wait_for_all() -> None:
    """Wait until every process is here."""
    if world_size() > 1:
        dist.barrier()


def summed(tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum of the tensors of all processes."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def gathered(tensor: torch.Tensor) -> torch.Tensor:
    """Return the rows of all processes, in the order of their ranks.

    Gradients flow into the own rows alone: with the same loss of all rows in every process, their
    sum is its gradient. They are multiplied, because DistributedDataParallel takes the mean.
    """
    if world_size() == 1:
        return tensor
    shares = [torch.empty_like(tensor) for _ in range(world_size())]
    dist.all_gather(shares, tensor.detach().contiguous())
    if tensor.requires_grad:
        tensor.register_hook(lambda gradient: gradient * world_size())
    shares[rank()] = tensor
    return torch.cat(shares)
