"""A trained network as one readable PyTorch file and its weights, for people who do not want to install autoshrink.

The folder holds ``model.py`` (the very network: its cell's wiring as plain statements), ``model.safetensors``,
``README.md``, and ``classes.json`` or ``vocabulary.json`` where the names are many. The files are templates (``.j2``)
filled in.
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save as serialise

from autoshrink.bundle import MODEL_FILE, TrainedModel
from autoshrink.deploy.exporter import exporter_of
from autoshrink.deploy.parity import Parity, refuse_beyond
from autoshrink.deploy.plain_source.checking import Samples, check
from autoshrink.deploy.plain_source.layout import PlainSource, filled
from autoshrink.files import new_folder

TOLERANCE = 1e-5


def write(model: TrainedModel, folder: Path, samples: Samples, tolerance: float = TOLERANCE) -> Parity:
    """Write a trained network as plain PyTorch into a new folder, once it is shown to compute the same.

    Args:
        model: the network; it is computed on the CPU.
        folder: to be made; it may exist if it is empty.
        samples: real inputs: for an image classifier float32 (n, C, s, s), normalised; for a language model token ids
            (n,). See `autoshrink.deploy.parity`.
        tolerance: the largest difference of a logit, times the largest logit where that is above 1.

    Raises:
        InputError: the folder holds something, the kind of network has no plain form, there is no sample, or the
            difference is above the tolerance.
        RunError: the folder cannot be written.
    """
    source = render(model)
    with new_folder(folder) as draft:
        for name, text in source.texts.items():
            (draft / name).write_text(text, encoding="utf-8")
        (draft / MODEL_FILE).write_bytes(serialise(dict(source.tensors), metadata={"format": "pt"}))
        parity = check(model, draft, samples)
        refuse_beyond(tolerance, parity, folder)
        (draft / "README.md").write_text(page(model, parity), encoding="utf-8")
    return parity


def render(model: TrainedModel) -> PlainSource:
    """The files of a network, unwritten and unchecked; equal models give equal files.

    Raises:
        InputError: the kind of network has no plain form.
    """
    source: PlainSource = exporter_of(model.architecture).source().render(model)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in source.tensors.items()}
    return PlainSource(source.texts, tensors)


def page(model: TrainedModel, parity: Parity) -> str:
    """The text of ``README.md``: what it is, how it is used and trained further, and how it was checked."""
    template, values = exporter_of(model.architecture).source().page(model)
    spec = model.facts.data.spec or "data unknown"
    return filled(template, **values, spec=spec, facts=model.facts, parity=parity)


__all__ = ["TOLERANCE", "PlainSource", "page", "render", "write"]
