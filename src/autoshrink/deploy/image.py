"""Image classifiers leaving PyTorch: real images to compare on, int8, and what that costs in accuracy.

Shape letters: n images, C channels, s pixels. Nothing here imports torch before a network is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from autoshrink.bundle import ImageInterface, TrainedClassifier, TrainedModel
from autoshrink.data import Preprocessing, open_images
from autoshrink.data.batches import Batches
from autoshrink.data.carving import NOTHING_KEPT, Keeping, content_digests, keeping_of
from autoshrink.data.images import TEST, TRAIN
from autoshrink.data.opening import splits_of
from autoshrink.data.split_choice import Part, tested_part, train_part
from autoshrink.deploy.card import Card
from autoshrink.deploy.exporter import Exporter, call_of, reference
from autoshrink.deploy.parity import Floats, trained_on
from autoshrink.deploy.quantisation import METHODS, Int8, Int8Result, Measured, left_in_float, quantise_classifier
from autoshrink.errors import DataError, InputError
from autoshrink.quantity import counted
from autoshrink.seeding import derive_seed

BATCH = 64
"""Images that are measured at a time: what bounds the memory."""
LARGE_DROP = 0.02
"""Of accuracy: what deserves a word."""

Run = Callable[[Floats], Floats]
"""(n, C, s, s) normalised to logits (n, classes)."""


class ImageExporter(Exporter):
    """See `Exporter`."""

    calibrates: ClassVar[bool] = True
    example: ClassVar[str] = "image.jpg"

    def verify(self, card: Card, session: Any, path: Path) -> None:
        """Also: as many class names as outputs, and a preprocessing that makes what the network takes."""
        super().verify(card, session, path)
        assert isinstance(card.interface, ImageInterface), "the task's own"
        (images,), (logits,) = session.get_inputs(), session.get_outputs()
        refuse_other_count(
            path, f"{counted(len(card.interface.classes), 'class name')}", card.interface.classes, logits
        )
        how = card.interface.preprocessing
        sides = (how.channels, how.size, how.size)
        if images.type != "tensor(float)" or tuple(images.shape[1:]) != sides:
            wanted, taken = "×".join(map(str, sides)), "×".join(map(str, images.shape[1:]))
            raise InputError(
                f"{path}: its network takes {taken} {images.type}, and its metadata's preprocessing makes {wanted} "
                "tensor(float); export it again"
            )

    def real(self, model: TrainedModel, data: str | None, count: int, seed: int = 0) -> Floats:
        """See `Exporter.real`."""
        assert isinstance(model, TrainedClassifier), "the task's own"
        return real_samples(model, data=data, count=count, seed=seed)

    def int8(
        self, model: TrainedModel, path: Path, how: Int8, data: str | None, progress: Callable[[str, int, int], None]
    ) -> Int8Result:
        """See `Exporter.int8`."""
        assert isinstance(model, TrainedClassifier), "the task's own"
        calibration = real_samples(model, data=data, count=how.images, seed=1)
        target = quantise_classifier(path, calibration, method=how.method)
        notes: tuple[str, ...] = ()
        if len(calibration) < how.images:
            notes = (f"calibrated on {counted(len(calibration), 'image')}: there are no more",)
        done = Int8Result(target, left_in_float(target), notes)
        if not how.evaluate:
            return done
        versions = {"pytorch": reference(model.network), "onnx": call_of(path), "int8": call_of(target)}
        try:
            found = accuracies(
                {name: _first_output(call) for name, call in versions.items()},
                data=data or trained_on(model),
                classes=model.classes,
                preprocessing=model.preprocessing,
                keeping=keeping_of(model.facts.data.to_json()),
                progress=lambda done, total: progress("test images", done, total),
            )
        except DataError as error:
            return replace(done, notes=(*notes, f"what int8 costs was not measured: {error}"))
        lost = found.values["pytorch"] - found.values["int8"]
        if lost > LARGE_DROP:
            others = " or ".join(other for other in METHODS if other != how.method)
            said = f"int8 loses {100 * lost:.1f} points of accuracy"
            notes = (*notes, f"{said}; another --calibration-method ({others}) may lose less")
        return replace(done, notes=notes, measured=found)

    def source(self) -> Any:
        """See `Exporter.source`."""
        from autoshrink.deploy.plain_source import image  # noqa: PLC0415 - torch

        return image


def refuse_other_count(path: Path, named: str, names: Sequence[str], output: Any) -> None:
    """Refuse where a network has not as many outputs as names; an open axis of it says nothing."""
    width = output.shape[-1] if output.shape else None
    if isinstance(width, int) and width != len(names):
        raise InputError(f"{path}: its metadata has {named} for a network with {width} outputs; export it again")


def _first_output(call: Callable[..., tuple[Any, ...]]) -> Run:
    return lambda images: call(images)[0]


def real_samples(model: TrainedClassifier, *, data: str | None = None, count: int = 64, seed: int = 0) -> Floats:
    """Training images as an image classifier reads them, float32 (n, C, s, s), normalised; n is `count` or all.

    Images that the training kept back, as test images or for its validation, are not among them.

    `data` names other images than those that the model was trained on; `seed` decides which.

    Raises:
        DataError: the images cannot be used.
    """
    spec = data or trained_on(model)
    part = _learnable(spec, keeping_of(model.facts.data.to_json()))
    generator = np.random.Generator(np.random.PCG64(derive_seed(seed, "export", "samples")))
    order = part.indices[generator.permutation(len(part))]
    some = count + count // 10 + 1  # for those that cannot be decoded
    if model.ledger is not None:
        order = np.sort(order[: 2 * some])
        order = generator.permutation(order[~model.ledger.kept_back(content_digests(part.source, order))])
    found = [pixels for _, pixels in Batches(Part(part.source, np.sort(order[:some])), model.preprocessing, BATCH)]
    if not found:
        raise DataError(f"{part.source.location}: not one training image can be decoded; give others with --data")
    return model.preprocessing.normalised(np.concatenate(found)[:count])


def _learnable(spec: str, keeping: Keeping) -> Part:
    """The training split, without the test images that are kept back from it."""
    if keeping.share is not None and TEST not in splits_of(spec):
        return train_part(spec, keeping).part
    return Part.all_of(open_images(spec, split=TRAIN))


def accuracies(
    versions: Mapping[str, Run],
    *,
    data: str,
    classes: Sequence[str],
    preprocessing: Preprocessing,
    keeping: Keeping = NOTHING_KEPT,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Measured:
    """Measure versions of a classifier on the test split.

    Args:
        versions: by name; agreement is with the first.
        data: a name or path.
        classes: of the classifier, in the order of its outputs.
        preprocessing: its own.
        keeping: what its training kept back as test images.
        progress: called with (images done, images in all).

    Raises:
        DataError: there is no test split, it has other classes, or not one of its images can be decoded.
    """
    part = tested_part(data, keeping)
    source = part.source
    if source.classes != tuple(classes):
        raise DataError(f"{source.location}: its classes are not those that the model tells apart")
    right, same, seen = dict.fromkeys(versions, 0), dict.fromkeys(versions, 0), 0
    for indices, pixels in Batches(part, preprocessing, BATCH, progress):
        normalised = preprocessing.normalised(pixels)
        found = {name: run(normalised).argmax(axis=1) for name, run in versions.items()}
        first = next(iter(found.values()))
        for name, guesses in found.items():
            right[name] += int((guesses == source.labels[indices]).sum())
            same[name] += int((guesses == first).sum())
        seen += len(indices)
    if not seen:
        raise DataError(f"{source.location}: not one test image can be decoded")
    shares = ({name: count / seen for name, count in counts.items()} for counts in (right, same))
    return Measured("accuracy", f"{data}, test split", seen, *shares)
