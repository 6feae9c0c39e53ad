"""A ledger in a checkpoint: two tensors beside the weights, int64 (n,), the digests' bits as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from autoshrink.data.carving import Ledger
from autoshrink.errors import InputError

TRAINED, KEPT = "ledger.trained", "ledger.kept"


def ledger_tensors(ledger: Ledger | None) -> dict[str, Tensor]:
    """A ledger as tensors by name; none where there is no ledger."""
    if ledger is None:
        return {}
    return {
        name: torch.from_numpy(digests.view(np.int64).copy())
        for name, digests in ((TRAINED, ledger.trained), (KEPT, ledger.kept))
    }


def parted(tensors: Mapping[str, Tensor], path: Path) -> tuple[dict[str, Tensor], Ledger | None]:
    """A checkpoint's tensors without the ledger, and the ledger.

    Raises:
        InputError: only half of it is there, or it is no list of digests; the message names the file.
    """
    others = {name: tensor for name, tensor in tensors.items() if name not in (TRAINED, KEPT)}
    lists = [tensors[name] for name in (TRAINED, KEPT) if name in tensors]
    if not lists:
        return others, None
    if len(lists) < 2 or any(one.dtype != torch.int64 or one.ndim != 1 for one in lists):
        raise InputError(f"{path}: damaged: its list of images is not as expected")
    trained, kept = (one.numpy().view(np.uint64) for one in lists)
    return others, Ledger.of(trained, kept)
