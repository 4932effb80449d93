"""The processes of a run: one, or as many as `torchrun` started. Gradients are averaged by DistributedDataParallel."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from gpt2_core.runtime import resolve_device


@dataclass(frozen=True)
class Ranks:
    """This process among all: `rank` of `count`, computing on `device`."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes the files and speaks."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes of `values`, a tensor on the CPU."""
        if self.count == 1:
            return values
        there = values.to(self.device)
        dist.all_reduce(there)
        return there.cpu()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            dist.barrier(device_ids=[self.device.index] if self.device.type == "cuda" else None)


@contextmanager
def ranks(device: str = "auto") -> Iterator[Ranks]:
    """The processes that torchrun announces in the environment, connected (NCCL on CUDA, gloo elsewhere) until the end."""
    rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    on = resolve_device(device)
    if on.type == "cuda":
        on = torch.device("cuda", int(os.environ.get("LOCAL_RANK", on.index or 0)))
        torch.cuda.set_device(on)
    if count == 1:
        yield Ranks(0, 1, on)
        return
    dist.init_process_group("nccl" if on.type == "cuda" else "gloo")
    try:
        yield Ranks(rank, count, on)
    finally:
        dist.destroy_process_group()
