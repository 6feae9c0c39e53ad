"""Random seeds that depend on names and never on order or time."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for one purpose, from a run's seed and what it is for: ``derive_seed(1, "order", "epoch", 3)``.

    The same arguments give the same seed in every process; other names give an unrelated one.
    """
    text = "/".join([str(seed), *(str(name) for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
