"""From handles to pixels, in this process or in several: what one request for images asks, and what comes back."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from autoshrink.data.crops import Draws, RandomCrop, centre
from autoshrink.data.decoding import CORRUPT, reading_images
from autoshrink.data.images import Handle, Indices, Pixels, one_line, payload_of, reason
from autoshrink.data.picture import Window
from autoshrink.errors import RunError


@dataclass(frozen=True)
class Framing:
    """How images are brought to one size.

    Attributes:
        size: height = width of what comes out, pixels.
        scaled: the shorter side before the centre crop, pixels.
        channels: 1 or 3; None keeps grey images grey.
        crop: how a random part is cut out, where random numbers come with an image.
        window: values of deep images that become 0 and 255, as in `Preprocessing`.
    """

    size: int
    scaled: int
    channels: int | None
    crop: RandomCrop | None = None
    window: Window | None = None

    def pixels(self, handle: Handle, draws: Draws | None) -> Pixels:
        """One image as uint8 (c, size, size); raises one of `CORRUPT` for an image that cannot be decoded."""
        payload = payload_of(handle)
        if self.crop is not None and draws is not None:
            assert self.channels is not None, "settled before training begins"
            return self.crop.pixels(payload, draws, size=self.size, channels=self.channels, window=self.window)
        return centre(payload, size=self.size, scaled=self.scaled, channels=self.channels, window=self.window)


@dataclass(frozen=True, eq=False)
class Request:
    """Images to decode: their indices (n,), a handle for each, and random numbers (n, DRAWS) where parts are cut."""

    indices: Indices
    handles: list[Handle]
    draws: Draws | None


class Decoded(NamedTuple):
    """What comes back: pixels uint8 (n', C, size, size), channels last in memory, of those that could be decoded,
    their places in the request (n',), the request's indices (n,), and why the others could not."""

    images: Tensor
    places: Tensor
    indices: Tensor
    failures: dict[int, str]


class Decoder(Dataset[Decoded]):
    """A data set whose keys are whole requests: workers know nothing but how images are brought to one size."""

    def __init__(self, framing: Framing) -> None:
        self._framing = framing

    def __getitem__(self, request: Request) -> Decoded:
        framing, failures = self._framing, {}
        assert framing.channels is not None, "settled before batches are made"
        images = np.empty((len(request.indices), framing.size, framing.size, framing.channels), dtype=np.uint8)
        places: list[int] = []
        with reading_images():
            for place, (index, handle) in enumerate(zip(request.indices.tolist(), request.handles, strict=True)):
                try:
                    pixels = framing.pixels(handle, None if request.draws is None else request.draws[place])
                except CORRUPT as error:
                    failures[index] = reason(error)
                else:
                    images[len(places)] = pixels.transpose(1, 2, 0)
                    places.append(place)
        decoded = torch.from_numpy(images[: len(places)]).permute(0, 3, 1, 2)
        return Decoded(decoded, torch.tensor(places), torch.from_numpy(request.indices), failures)


class DecodingPool:
    """Decodes requests in order, ahead of need if it has workers.

    Workers start with the first use, anew and not as copies of this process (which has threads, and perhaps a GPU that
    no copy may touch), and stay for the next.

    Args:
        framing: how images are brought to one size.
        workers: processes; 0 to decode in this one, when asked.
        pinned: whether images come in memory from which copies to a CUDA device need not be waited for.
    """

    def __init__(self, framing: Framing, *, workers: int, pinned: bool) -> None:
        self.crops = framing.crop is not None
        """Whether random parts are cut where random numbers come with a request."""
        self._queue = _Queue()
        options: dict[str, Any] = {"persistent_workers": True, "multiprocessing_context": "spawn"} if workers else {}
        self._loader: DataLoader[Decoded] = DataLoader(
            Decoder(framing),
            sampler=self._queue,
            batch_size=None,
            num_workers=workers,
            collate_fn=_as_it_is,
            pin_memory=pinned,
            # Each start draws a number, by default from torch's global generator: it is the caller's.
            generator=torch.Generator().manual_seed(0),
            **options,
        )
        self._turn = 0

    def run(self, requests: Iterator[Request]) -> Iterator[Decoded]:
        """What comes of each request. A second run ends the first.

        Raises:
            RunError: a worker died.
        """
        self._turn += 1
        turn, self._queue.requests = self._turn, requests
        with warnings.catch_warnings():
            # How many workers there are is for the caller to say.
            warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
            results = iter(self._loader)
        while True:
            assert turn == self._turn, "one run at a time"
            try:
                decoded = next(results)
            except StopIteration:
                return
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                raise RunError(
                    f"a loading process died ({one_line(error)[:120]})\n"
                    "is there too little memory, or shared memory (/dev/shm)? try fewer workers, or 0; a script of "
                    "your own that starts workers needs: if __name__ == '__main__'"
                ) from error
            yield decoded


class _Queue:
    """What is to be decoded next; a loader whose workers stay can be given new requests only through this."""

    requests: Iterator[Request] = iter(())

    def __iter__(self) -> Iterator[Request]:
        return self.requests


def _as_it_is(decoded: Any) -> Any:
    return decoded
