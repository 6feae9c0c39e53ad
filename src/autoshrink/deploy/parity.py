"""Whether an exported file computes what PyTorch does: measured on real inputs, refused where it does not.

Shape letters: n images, C channels, s pixels. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from autoshrink.data import ImageSource, Preprocessing, open_images, open_text
from autoshrink.data.decoding import CORRUPT, reading_images
from autoshrink.errors import DataError, InputError, RunError
from autoshrink.seeding import derive_seed

if TYPE_CHECKING:
    from autoshrink.bundle import TrainedClassifier, TrainedLanguageModel

Floats = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Parity:
    """How far an exported file's logits are from PyTorch's, on the same inputs.

    Attributes:
        max_difference: the largest absolute difference of any logit; NaN where either has one.
        agreement: share of the predictions (the largest logit) that are the same, in [0, 1].
        samples: how many predictions were compared.
        shapes: of the inputs that were tried, for example ``((1, 3, 32, 32), (63, 3, 32, 32))``.
        largest: PyTorch's largest absolute logit.
    """

    max_difference: float
    agreement: float
    samples: int
    shapes: tuple[tuple[int, ...], ...]
    largest: float = 1.0

    def passes(self, tolerance: float) -> bool:
        """Whether the largest difference is within `tolerance`, times the largest logit where that is above 1."""
        return self.max_difference <= tolerance * max(1.0, self.largest)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self) | {"shapes": [list(shape) for shape in self.shapes]}

    def __str__(self) -> str:
        tried = " and ".join("×".join(map(str, shape)) for shape in self.shapes)
        return (
            f"largest difference {self.max_difference:.2g} (logits up to {self.largest:.3g}), "
            f"{self.agreement:.1%} of {self.samples:,} predictions the same; inputs {tried}"
        )


def compare(outputs: Iterable[tuple[tuple[int, ...], npt.ArrayLike, npt.ArrayLike]]) -> Parity:
    """Parity over (input shape, PyTorch's logits, the file's logits); logits are (…, classes), of equal shapes.

    Raises:
        RunError: the file's logits have another shape.
    """
    difference, largest, same, samples = 0.0, 0.0, 0, 0
    shapes = []
    for shape, reference, other in outputs:
        expected, found = np.asarray(reference, dtype=np.float64), np.asarray(other, dtype=np.float64)
        if found.shape != expected.shape:
            raise RunError(f"the exported file turns {shape} into {found.shape}, and PyTorch into {expected.shape}")
        shapes.append(tuple(shape))
        # np.maximum hands NaN on, where max() would drop it.
        difference = float(np.maximum(difference, np.abs(found - expected).max()))
        largest = float(np.maximum(largest, np.abs(expected).max()))
        same += int((found.argmax(axis=-1) == expected.argmax(axis=-1)).sum())
        samples += expected[..., 0].size
    return Parity(difference, same / samples, samples, tuple(shapes), largest)


def refuse_beyond(tolerance: float, parity: Parity, path: Path) -> None:
    """Stop an export whose file does not compute what PyTorch does.

    Raises:
        InputError: the difference is above the tolerance.
    """
    if not parity.passes(tolerance):
        raise InputError(
            f"{path}: not written, for it does not compute what PyTorch does: {parity}\n"
            f"the same weights should not need a larger --tolerance than {tolerance:g}; please report it"
        )


def real_samples(model: TrainedClassifier, *, data: str | None = None, count: int = 64, seed: int = 0) -> Floats:
    """Training images as an image classifier reads them, float32 (n, C, s, s), normalised; n is `count` or all.

    Args:
        model: says what it was trained on, and its preprocessing.
        data: the images instead, by name or path.
        count: how many.
        seed: decides which.

    Raises:
        DataError: the images cannot be used.
    """
    source = open_images(data or trained_on(model), split="train")
    images, _ = decoded(model.preprocessing, source, drawn(source, count, seed), enough=count)
    if not len(images):
        raise DataError(f"{source.location}: not one training image can be decoded; give others with --data")
    return model.preprocessing.normalised(images)


def real_tokens(model: TrainedLanguageModel, *, data: str | None = None, count: int = 512) -> Tokens:
    """The first token ids, int64 (count,) or fewer, of a language model's training text.

    Raises:
        DataError: the text cannot be used.
    """
    vocabulary = model.vocabulary
    rule = "auto" if vocabulary.rule == "characters" else vocabulary.rule
    source = open_text(data or trained_on(model), level=vocabulary.level, tokens=rule)
    tokens = islice(chain.from_iterable(source.segments("train")), count)
    return vocabulary.encode(tokens).astype(np.int64)


def trained_on(model: TrainedClassifier | TrainedLanguageModel) -> str:
    """The data SPEC that a model was trained on.

    Raises:
        InputError: the model does not say.
    """
    spec = model.facts.data.spec
    if not spec:
        raise InputError("the model does not say what it was trained on; give the data with --data")
    return spec


def drawn(source: ImageSource, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Indices of images, in random order, a tenth more than `count` for those that cannot be decoded."""
    generator = np.random.Generator(np.random.PCG64(derive_seed(seed, "export", "samples")))
    return generator.permutation(len(source.labels))[: count + count // 10 + 1]


def decoded(
    preprocessing: Preprocessing, source: ImageSource, indices: npt.NDArray[np.int64], *, enough: int | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Those of the images that can be decoded, uint8 (n, C, s, s), ascending by index, and their labels (n,)."""
    found: dict[int, npt.NDArray[np.uint8]] = {}
    with reading_images():
        for index, payload in source.payloads(indices):
            with suppress(*CORRUPT):
                found[index] = preprocessing.pixels(payload)
    kept = sorted(found)[:enough]
    shape = (0, preprocessing.channels, preprocessing.size, preprocessing.size)
    images = np.stack([found[index] for index in kept]) if kept else np.empty(shape, dtype=np.uint8)
    return images, source.labels[kept]
