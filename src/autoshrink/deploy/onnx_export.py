"""An image classifier as one ONNX file: BN folded, any batch, checked against PyTorch on real images.

Shape letters: n images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from autoshrink.bundle import TrainedClassifier
from autoshrink.cost import count
from autoshrink.deploy.onnx_file import Card, write_model
from autoshrink.deploy.parity import Floats, Parity, compare, refuse_beyond
from autoshrink.files import replacing
from autoshrink.onnx.export import OPSET, image_form, to_onnx
from autoshrink.onnx.session import open_session

INPUT, OUTPUT = "images", "logits"
TOLERANCE = 1e-4


def export_classifier(
    model: TrainedClassifier, path: Path, samples: Floats, *, tolerance: float = TOLERANCE, opset: int = OPSET
) -> Parity:
    """Write a classifier as an ONNX file, unless the file computes something else.

    Its input is ``images``, float32 (n, C, H, W), normalised as the metadata's preprocessing says; its output is
    ``logits``, float32 (n, classes). It is checked with one image and with the others together.

    Args:
        model: the classifier.
        path: the file; written whole or not at all.
        samples: normalised images (n, C, H, W), real ones: `autoshrink.deploy.parity.real_samples`.
        tolerance: how far logits may be from PyTorch's, see `Parity.passes`.
        opset: of ONNX.

    Raises:
        InputError: a package is missing, the opset cannot be written, or the difference is above the tolerance.
        RunError: the file cannot be written.
    """
    exported = to_onnx(image_form(model.network, model.architecture.input), opset=opset)
    with replacing(path) as draft:
        write_model(exported, draft, classifier_card(model))
        parity = parity_with(model.network, logits_of(draft), samples)
        refuse_beyond(tolerance, parity, path)
    return parity


def classifier_card(model: TrainedClassifier) -> Card:
    """What the file of a classifier says of itself."""
    counted = count(model.architecture)
    return Card(
        architecture=model.architecture,
        params=counted.params,
        macs=counted.macs,
        facts=model.facts.to_json(),
        classes=model.classes,
        preprocessing=model.preprocessing,
        torch=torch.__version__,
    )


def parity_with(network: nn.Module, logits: Callable[[Floats], Floats], samples: Floats) -> Parity:
    """How far a program is from a network in evaluation mode, on one sample and on the others together.

    Args:
        network: the reference, on the CPU.
        logits: the program, (n, C, H, W) to (n, classes).
        samples: (n, C, H, W); where there are fewer than three, they are repeated for a batch of several.
    """
    others = samples[1:] if len(samples) > 2 else np.concatenate([samples] * 3)
    reference = logits_of_network(network)
    return compare((batch.shape, reference(batch), logits(batch)) for batch in (samples[:1], others))


def logits_of_network(network: nn.Module) -> Callable[[Floats], Floats]:
    """A network's (n, C, H, W) to (n, classes), in evaluation mode."""

    def run(images: Floats) -> Floats:
        with torch.no_grad():
            # Evaluation mode: BN by its running statistics, as in the exported file. (No Python is evaluated.)
            logits: Tensor = network.eval()(torch.from_numpy(images))
        found: Floats = logits.numpy()
        return found

    return run


def logits_of(path: Path) -> Callable[[Floats], Floats]:
    """An ONNX file's (n, C, H, W) to (n, classes)."""
    session = open_session(path)

    def run(images: Floats) -> Floats:
        (logits,) = session.run([OUTPUT], {INPUT: images})
        return np.asarray(logits, dtype=np.float32)

    return run
