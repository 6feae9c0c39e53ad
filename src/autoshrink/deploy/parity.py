"""Whether an exported file computes what PyTorch does: measured on real inputs, refused where it does not.

Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autoshrink.bundle import TrainedModel
from autoshrink.errors import InputError, RunError

Floats = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Parity:
    """How far an exported file's logits are from PyTorch's, on the same inputs.

    Attributes:
        max_difference: the largest absolute difference of any logit; NaN where either has one.
        agreement: share of the predictions (the largest logit) that are the same, in [0, 1]; None where an output is a
            single number.
        samples: how many predictions were compared.
        shapes: of the inputs that were tried, for example ``((1, 3, 32, 32), (63, 3, 32, 32))``.
        largest: PyTorch's largest absolute logit.
    """

    max_difference: float
    agreement: float | None
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
            f"largest difference {self.max_difference:.2g} (up to {self.largest:.3g}) in {self.samples:,} samples; "
            f"inputs {tried}"
            if self.agreement is None
            else f"largest difference {self.max_difference:.2g} (logits up to {self.largest:.3g}), "
            f"{self.agreement:.1%} of {self.samples:,} predictions the same; inputs {tried}"
        )


def compare(outputs: Iterable[tuple[tuple[int, ...], npt.ArrayLike, npt.ArrayLike]]) -> Parity:
    """Parity over (input shape, PyTorch's outputs, the file's), of equal shapes: logits (…, classes), or numbers (n,).

    Raises:
        RunError: the file's logits have another shape.
    """
    difference, largest, same, samples, classifies = 0.0, 0.0, 0, 0, False
    shapes = []
    for shape, reference, other in outputs:
        expected, found = np.asarray(reference, dtype=np.float64), np.asarray(other, dtype=np.float64)
        if found.shape != expected.shape:
            raise RunError(f"the exported file turns {shape} into {found.shape}, and PyTorch into {expected.shape}")
        shapes.append(tuple(shape))
        # np.maximum hands NaN on, where max() would drop it.
        difference = float(np.maximum(difference, np.abs(found - expected).max()))
        largest = float(np.maximum(largest, np.abs(expected).max()))
        classifies = expected.ndim > 1 and expected.shape[-1] > 1
        if classifies:
            same += int((found.argmax(axis=-1) == expected.argmax(axis=-1)).sum())
        samples += expected[..., 0].size if expected.ndim > 1 else expected.size
    return Parity(difference, same / samples if classifies else None, samples, tuple(shapes), largest)


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


def trained_on(model: TrainedModel) -> str:
    """The data SPEC that a model was trained on.

    Raises:
        InputError: the model does not say.
    """
    spec = model.facts.data.spec
    if not spec:
        raise InputError("the model does not say what it was trained on; give the data with --data")
    return spec
