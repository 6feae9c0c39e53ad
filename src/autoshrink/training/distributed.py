"""Several processes that train one network, as ``torchrun`` starts them: who is who, and what they tell each other."""

from __future__ import annotations

import gc
import importlib
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from autoshrink.errors import InputError


@dataclass(frozen=True)
class Processes:
    """One process among those that train together.

    Attributes:
        rank: its number; the first, 0, writes and speaks for all.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def total(self, values: list[float], device: torch.device) -> list[float]:
        """The sum over processes of each value; every process gets the same figures."""
        if self.count == 1:
            return values
        # Apple's MPS has no float64, and no processes either.
        found: list[float] = self.summed(torch.tensor(values, dtype=torch.float64, device=device)).tolist()
        return found

    def summed(self, values: Tensor) -> Tensor:
        """The same on the device, without a wait for it."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    @torch.no_grad()
    def agree(self, network: nn.Module) -> None:
        """Everybody's weights and BN statistics become the first process's."""
        if self.count > 1:
            for tensor in network.state_dict().values():
                distributed.broadcast(tensor, src=0)

    def together(self) -> None:
        """Wait for all."""
        if self.count > 1:
            distributed.barrier()


def announced() -> Processes:
    """Who this process is by the environment that ``torchrun`` made; alone where it made none.

    Raises:
        InputError: the environment says something else than numbers.
    """
    try:
        found = Processes(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    except ValueError as error:
        raise InputError(f"RANK and WORLD_SIZE in the environment are no numbers ({error}); use torchrun") from None
    return found if found.count > 1 else Processes()


def own_device(name: str) -> str:
    """The device of this process: with several and CUDA, the one of its number on this machine."""
    if announced().count == 1 or name not in ("auto", "cuda"):
        return name
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if not torch.cuda.is_available():
        return name
    if local >= torch.cuda.device_count():
        raise InputError(
            f"process {local} of this machine finds {torch.cuda.device_count()} CUDA devices; start as many processes "
            "as there are (torchrun --nproc-per-node), or train with --device cpu"
        )
    return f"cuda:{local}"


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Inside, the processes that ``torchrun`` started can tell each other figures: NCCL on CUDA, Gloo on CPUs.

    Where the caller has a process group already, it is used and left alone. Otherwise it ends with the block, and with
    it Gloo's threads: one that still lets go of a tensor while Python ends takes the process with it ("terminate
    called without an active exception"). So nothing made inside may be kept outside: a learner holds the group.
    """
    found = announced()
    if found.count == 1:
        yield found
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if distributed.is_initialized():
        yield found
        return
    # Its functions have the group of the time of their import as a default; imported later, they would keep it alive.
    importlib.import_module("torch.distributed.nn.functional")
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield found
    except BaseException as error:
        # Not with NCCL: the others may wait for this process, and its end is what ends them.
        if device.type != "cuda":
            traceback.clear_frames(error.__traceback__)
            _leave()
        raise
    _leave()


def _leave() -> None:
    """End the process group; its threads are joined when nothing holds it any more."""
    distributed.destroy_process_group()
    gc.collect()
