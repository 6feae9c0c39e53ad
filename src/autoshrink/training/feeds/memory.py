"""Images that are decoded once and stay on the device as bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from autoshrink.data import SkippedFile
from autoshrink.data.decoding import CORRUPT, CorruptImages, Progress, reading_images
from autoshrink.data.images import Indices, Pixels, reason
from autoshrink.data.split_choice import Part
from autoshrink.training.draws import BatchDraws
from autoshrink.training.feeds.base import Batches
from autoshrink.training.feeds.decoding import Framing


@dataclass(frozen=True, eq=False)
class Held:
    """Decoded images: `pixels` uint8 (n, size, size, C), their `labels` (n,), and what could not be decoded."""

    pixels: Pixels
    labels: Indices
    skipped: tuple[SkippedFile, ...]
    note: str | None

    def digest(self) -> bytes:
        """A sha256 of pixels and labels."""
        digest = hashlib.sha256(f"{self.pixels.shape}".encode())
        digest.update(self.pixels.data)
        digest.update(self.labels.tobytes())
        return digest.digest()


def held(part: Part, framing: Framing, *, max_corrupt: float, progress: Progress | None, of: int | None = None) -> Held:
    """Decode images into memory, once each; where `framing` leaves the channels open, 1 if every image is grey, else 3.

    Of `of` images (default: the part's own) the share `max_corrupt` may be corrupt.

    Raises:
        DataError: too many cannot be decoded, or the container they are in cannot be read.
    """
    corrupt = CorruptImages(part.source, of or len(part), max_corrupt)
    channels = framing.channels or 3
    pixels = np.empty((len(part), framing.size, framing.size, channels), dtype=np.uint8)
    place = {index: number for number, index in enumerate(part.indices.tolist())}
    failures: dict[int, str] = {}
    coloured = framing.channels == 3
    with reading_images():
        for done, (index, payload) in enumerate(part.source.payloads(part.indices), start=1):
            try:
                image = framing.pixels(payload, None)
            except CORRUPT as error:
                failures[index] = reason(error)
            else:
                coloured = coloured or len(image) == 3
                pixels[place[index]] = image.transpose(1, 2, 0)
            if progress is not None:
                progress(done, len(part))
    corrupt.add(failures)
    labels = part.labels
    if failures:
        usable = ~np.isin(part.indices, list(failures))
        pixels, labels = pixels[usable], labels[usable]
    # Grey images were repeated into all channels; one of them is enough.
    return Held(pixels if coloured else np.ascontiguousarray(pixels[..., :1]), labels, corrupt.skipped, corrupt.note())


class MemoryImages:
    """See `Images`. Every process holds all of them; `skipped` are also those of other processes' parts."""

    cuts = False

    def __init__(self, images: Held, device: torch.device) -> None:
        # (n, C, H, W), channels last in memory: no copy is made on the CPU.
        self._pixels = torch.from_numpy(images.pixels).to(device).permute(0, 3, 1, 2)
        self._labels = torch.from_numpy(images.labels).to(device)
        self.skipped = images.skipped
        self.indices = np.arange(len(images.labels), dtype=np.int64)

    def order(self, seed: int) -> Indices:
        """A permutation."""
        return np.random.Generator(np.random.PCG64(seed)).permutation(self.indices)

    def taken(self, wanted: Sequence[Indices], draws: Sequence[BatchDraws] | None = None) -> Batches:
        """As they lie there."""
        del draws
        for indices in wanted:
            chosen = torch.from_numpy(indices).to(self._pixels.device)
            yield self._pixels[chosen], self._labels[chosen]
