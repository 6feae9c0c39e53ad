"""The final training of an image classifier: its architecture made for the data, the data, and where weights begin."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autoshrink import formatting
from autoshrink.architecture import Architecture, ImageArchitecture, proxy_architecture
from autoshrink.bundle import ImageInterface, TrainedClassifier, load_as
from autoshrink.cell import Cell
from autoshrink.config import ClassifierData, ClassifierSettings, Overrides, TrainingContext, classifier_settings
from autoshrink.cost import count
from autoshrink.data import Preprocessing, open_images
from autoshrink.data.carving import Keeping, Ledger, keeping_of
from autoshrink.data.opening import same_data
from autoshrink.data.split_choice import NO_PAST, Past, drawn_ledger
from autoshrink.data.understood import has_test, images_understood
from autoshrink.errors import InputError
from autoshrink.final.base import FinalProblem, Request, TaskTraining, TrainingWatcher
from autoshrink.machine import refuse_beyond_memory
from autoshrink.metrics import EpochFigures
from autoshrink.networks import build, set_normalisation
from autoshrink.quantity import counted
from autoshrink.report.curves import curve_svg
from autoshrink.training.device import choose_device
from autoshrink.training.distributed import Processes, announced, own_device
from autoshrink.training.feeds import ImageData, Loading, Pictures, Share, channels_of, open_training_data
from autoshrink.training.image_learner import ImageLearner, autocast_type
from autoshrink.training.images import Normalisation
from autoshrink.training.loop import Stops

CELL_SIZE = 32
"""Height and width of the input of a lone cell's network where the images differ in size: that of the paper's."""
SHOWN = 4
"""Tensors that a message names."""
MOST_WORKERS = 8


class ImageTraining(TaskTraining):
    """See `TaskTraining`."""

    settings = ClassifierSettings
    together = True

    def begin(self, request: Request, watcher: TrainingWatcher) -> FinalProblem:
        """Read the images; the classifier's outputs become their classes."""
        if any(value is not None for value in request.sizes.values()):
            raise InputError(
                "width and params are for language models; `autoshrink craft` fits a classifier to a budget"
            )
        start, source = trained_start(request.overrides), Source.of(_spec(request.overrides))
        architecture = fitted(request.target, start, source, watcher.remark)
        settings = classifier_settings(
            request.overrides,
            TrainingContext(
                size=architecture.input[1],
                channels=architecture.input[0],
                images=source.images,
                start=brought(start, source.spec),
                built_in=source.spec == "digits",
            ),
        )
        settings = settings.model_copy(update={"threads": settings.threads or torch.get_num_threads()})
        known = None if start is None else start.preprocessing
        for line in images_understood(source.spec, _keeping(settings.data)):
            watcher.on_data(line)
        data = self._open(settings, architecture, known, past_of(start, source.spec, watcher.remark), watcher)
        self._refuse_large_batch(settings, architecture, len(data.training), watcher)
        network = build(architecture, seed=settings.seed)
        if start is not None:
            give_weights(network, architecture, start, anew=start.classes != data.classes)
        return self._problem(architecture, settings, data, network, watcher)

    def again(
        self,
        architecture: Architecture,
        settings: ClassifierSettings,
        interface: ImageInterface,
        ledger: Ledger | None,
        watcher: TrainingWatcher,
    ) -> FinalProblem:
        """See `TaskTraining`."""
        assert isinstance(architecture, ImageArchitecture), "the task's own"
        past = Past(ledger, by_position=ledger is None)
        data = self._open(settings, architecture, interface.preprocessing, past, watcher)
        return self._problem(architecture, settings, data, build(architecture, seed=settings.seed), watcher)

    def device(self, name: str) -> torch.device:
        """Of several processes, each has its own."""
        return choose_device(own_device(name))

    def keeps(self, curve: Sequence[float], validation_samples: int) -> bool:
        """Where it is as good as the best, within one standard error of that accuracy.

        The one-standard-error rule (Breiman et al. 1984), in favour of late epochs: the learning rate falls to zero,
        and the highest of many accuracies on few images may be an early one by luck. The error is √(p(1 − p)/ñ) with
        ñ = n + 4, two right and two wrong images added (Agresti and Coull 1998): perfection has one too.
        """
        best, images = max(curve), validation_samples
        share = (best * images + 2) / (images + 4)
        return curve[-1] >= best - math.sqrt(share * (1 - share) / (images + 4))

    def tested(self, settings: ClassifierSettings) -> bool:
        """Whether its data have a test split, or it kept test images back."""
        return has_test(settings.data.spec, _keeping(settings.data))

    def files(
        self, curve: Sequence[float], figures: Sequence[EpochFigures], kept: int
    ) -> dict[str, str | dict[str, Any]]:
        """Columns of figures, and a picture of them."""
        del curve
        columns = {
            "validation_accuracy": [round(one.performance, 6) for one in figures],
            "validation_loss": [round(one.loss, 6) for one in figures],
            "training_loss": [one.training_loss and round(one.training_loss, 6) for one in figures],
            "learning_rate": [one.learning_rate for one in figures],
        }
        return {"curve.json": columns, "curve.svg": curve_svg(figures, kept=kept)}

    def way_out(self, settings: ClassifierSettings) -> str:
        """A smaller batch, or more micro-batches."""
        recipe = settings.recipe
        return f"try a smaller --batch than {recipe.batch}, or --accumulate {2 * recipe.accumulation}"

    def _problem(
        self,
        architecture: ImageArchitecture,
        settings: ClassifierSettings,
        data: ImageData,
        network: nn.Module,
        watcher: TrainingWatcher,
    ) -> FinalProblem:
        recipe, processes, device = settings.recipe, announced(), self.device(settings.device)
        set_normalisation(network, epsilon=recipe.bn_epsilon, momentum=recipe.bn_momentum)
        # The network's weights lie as the images do: channels last.
        placed: nn.Module = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        learner = ImageLearner(
            placed,
            recipe,
            (data.training, data.validation),
            classes=len(data.classes),
            precision=autocast_type(recipe.precision, device),
            processes=processes,
        )
        if learner.stale and processes.first:
            steps = recipe.epochs * data.training.batches
            watcher.remark(
                f"BN's momentum of {recipe.bn_momentum:g} needs more than {counted(steps, 'step')} to forget its "
                "start: its statistics are taken anew on training images before they are used"
            )
        known = len(data.training.skipped)

        def after_epoch() -> None:
            nonlocal known
            skipped = data.training.skipped
            if len(skipped) > known:
                # Images that are streamed are found out only when they are read.
                known, first = len(skipped), skipped[0]
                several = formatting.count(len(skipped), "image")
                watcher.remark(f"left out, since it cannot be decoded: {several}, first {first.path}: {first.reason}")

        return FinalProblem(
            architecture=architecture,
            settings=settings,
            interface=ImageInterface(data.classes, data.preprocessing),
            learner=learner,
            stops=Stops(epochs=recipe.epochs, patience=recipe.patience),
            fingerprint=[data.fingerprint],
            validation_samples=len(data.validation),
            ledger=data.ledger,
            facts={"preset": settings.preset, "bn_epsilon": recipe.bn_epsilon},
            save_every=settings.save_every,
            processes=processes,
            after_epoch=after_epoch,
        )

    def _refuse_large_batch(
        self, settings: ClassifierSettings, architecture: ImageArchitecture, images: int, watcher: TrainingWatcher
    ) -> None:
        """Say where a batch is all images; refuse one that cannot fit (a GPU says that itself).

        Raises:
            InputError: it cannot fit into the CPU's memory.
        """
        recipe = settings.recipe
        if recipe.batch > images:
            watcher.remark(f"a batch of {recipe.batch:,} is all {images:,} training images: an epoch is one step")
        if self.device(settings.device).type == "cpu":
            together = min(recipe.batch, images) // (recipe.accumulation * announced().count)
            need = together * count(architecture).peak_activation_bytes
            refuse_beyond_memory(
                need, f"{together:,} images in one batch", "try a smaller --batch, or more --accumulate"
            )

    def _open(
        self,
        settings: ClassifierSettings,
        architecture: ImageArchitecture,
        known: Preprocessing | None,
        past: Past,
        watcher: TrainingWatcher,
    ) -> ImageData:
        wanted, processes, channels = settings.data, announced(), architecture.input[0]
        norm = None if known is None else Normalisation(known.mean, known.std)
        if norm is None and wanted.pixels == "symmetric":
            norm = Normalisation((0.5,) * channels, (0.5,) * channels)
        if settings.recipe.batch < 2 * processes.count:
            raise InputError(
                f"setting recipe.batch: {settings.recipe.batch} images are fewer than two for each of "
                f"{processes.count} processes"
            )
        pictures = Pictures(
            size=architecture.input[1],
            channels=channels,
            crop=wanted.crop,
            norm=norm,
            window=None if known is None else known.window,
            validation_share=wanted.validation_share,
            max_corrupt=wanted.max_corrupt,
            keeping=_keeping(wanted),
        )
        loading = Loading(
            batch=settings.recipe.batch,
            device=self.device(settings.device),
            stream=wanted.stream,
            workers=_workers(wanted.workers, processes),
            share=Share(processes.rank, processes.count),
        )
        data = open_training_data(
            wanted.spec,
            pictures,
            loading,
            augment=settings.recipe.augment,
            seed=settings.seed,
            past=past,
            progress=watcher.on_reading,
        )
        for note in data.notes:
            watcher.remark(note)
        return data


def _spec(overrides: Overrides) -> str:
    data = overrides.get("data", {})
    spec = data.get("spec", "digits") if isinstance(data, Mapping) else None
    if not isinstance(spec, str):
        raise InputError(f"setting data.spec: a name or a path is needed (got {spec or data!r})")
    return spec


def _keeping(data: ClassifierData) -> Keeping:
    return Keeping(data.test_share, data.group)


def _workers(asked: int | None, processes: Processes) -> int:
    """Processes that decode, beside this one: at most one a spare CPU."""
    if asked is not None:
        return asked
    return min(MOST_WORKERS, max(0, (os.cpu_count() or 1) // processes.count - 1))


@dataclass(frozen=True)
class Source:
    """The training split, opened and not read: what it is called, its classes, its images' size, and their number."""

    spec: str
    classes: tuple[str, ...]
    size: int | None
    images: int

    @classmethod
    def of(cls, spec: str) -> Source:
        """Open it.

        Raises:
            DataError: it cannot be.
        """
        source = open_images(spec, split="train")
        return cls(spec, source.classes, source.natural_size, len(source.labels))


def trained_start(overrides: Overrides) -> TrainedClassifier | None:
    """The classifier that ``start`` names, if it names one.

    Raises:
        InputError: there is none, or it is damaged.
    """
    start = overrides.get("start")
    return None if start is None else load_as(TrainedClassifier, Path(str(start)))


def brought(start: TrainedClassifier | None, spec: str) -> dict[str, Any] | None:
    """The settings that trained weights bring with them; of the same data, what was kept back for a test too."""
    if start is None:
        return None
    data: dict[str, Any] = {"crop": start.preprocessing.crop}
    if same_data(spec, start.facts.data.spec):
        keeping = keeping_of(start.facts.data.to_json())
        data |= {"test_share": keeping.share, "group": keeping.group}
    return {"data": data, "recipe": {"bn_epsilon": start.facts.bn_epsilon}}


def past_of(start: TrainedClassifier | None, spec: str, remark: Callable[[str], None]) -> Past:
    """What the weights at the start know of images.

    Files of earlier versions have no list: what they kept back of the same data is drawn again, as they drew it; of
    other data nothing is known. Both are said.
    """
    if start is None:
        return NO_PAST
    if start.ledger is not None:
        return Past(start.ledger)
    data = start.facts.data
    share = data.to_json().get("validation_share")
    if same_data(spec, data.spec) and isinstance(share, float):
        remark(
            "the weights to start from have no list of their images (an earlier version trained them): what they kept "
            "back is drawn again, which is right if no image was added, removed or renamed since"
        )
        return Past(drawn_ledger(spec, validation_share=share, seed=start.facts.seed or 0))
    remark(
        "the weights to start from have no list of their images (an earlier version trained them): if some of these "
        "are among them, validation accuracy flatters"
    )
    return NO_PAST


def fitted(
    target: Architecture | Cell | None,
    start: TrainedClassifier | None,
    source: Source,
    remark: Callable[[str], None],
) -> ImageArchitecture:
    """The architecture to train: what was asked for, with the data's classes.

    Raises:
        InputError: its input is no square of one or three channels.
    """
    if isinstance(target, Cell):
        size = source.size or CELL_SIZE
        return proxy_architecture(target, shape=(channels_of(source.spec), size, size), classes=len(source.classes))
    architecture = target or (start and start.architecture)
    assert isinstance(architecture, ImageArchitecture), "the task's own"
    channels, height, width = architecture.input
    if height != width or channels not in (1, 3):
        raise InputError(f"input {architecture.sizes}: classifiers are trained on squares of 1 or 3 channels")
    classes = len(source.classes)
    if architecture.classes == classes:
        return architecture
    remark(f"{source.spec} has {classes} classes: a classifier for these replaces the one for {architecture.classes}")
    return with_classes(architecture, classes)


def with_classes(architecture: ImageArchitecture, classes: int) -> ImageArchitecture:
    """The same for another number of classes."""
    return type(architecture).from_json(architecture.to_json() | {"classes": classes})


def give_weights(network: nn.Module, architecture: ImageArchitecture, start: TrainedClassifier, *, anew: bool) -> None:
    """Give a network the weights of a trained one; `anew` leaves what depends on the classes as it is.

    Raises:
        InputError: other tensors are missing, too many, or of another shape; the message names some.
    """
    own = network.state_dict()
    given = dict(start.network.state_dict())
    for name in class_tensors(architecture) if anew else ():
        given[name] = own[name]
    wrong = _differences(own, given)
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise InputError(
            f"the weights to start from do not fit the architecture: {', '.join(wrong[:SHOWN])}{more}; leave the "
            "architecture out to take theirs"
        )
    network.load_state_dict(given)


def class_tensors(architecture: ImageArchitecture) -> set[str]:
    """The names of the tensors whose shape depends on the number of classes."""
    here = build(architecture, seed=0).state_dict()
    there = build(with_classes(architecture, architecture.classes + 1), seed=0).state_dict()
    return {name for name in here if here[name].shape != there[name].shape}


def _differences(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    missing = [f"{name} is missing" for name in own.keys() - given.keys()]
    extra = [f"{name} is not in it" for name in given.keys() - own.keys()]
    shapes = [
        f"{name} is {_shape(given[name])} and not {_shape(own[name])}"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    return [*shapes, *sorted(missing), *sorted(extra)]


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "one number"
