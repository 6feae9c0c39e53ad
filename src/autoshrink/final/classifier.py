"""The final training of an image classifier."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from autoshrink import formatting
from autoshrink.architecture import ImageArchitecture
from autoshrink.bundle import MODEL_FILE, ImageInterface, TrainedClassifier, save
from autoshrink.bundle import Facts as ModelFacts
from autoshrink.cell import Cell
from autoshrink.config import ClassifierData, ClassifierSettings, Occasion, Overrides, TaskName, classifier_settings
from autoshrink.cost import count
from autoshrink.data import Preprocessing
from autoshrink.data.carving import Keeping
from autoshrink.data.split_choice import Past
from autoshrink.data.understood import has_test, images_understood
from autoshrink.errors import DataError, InputError
from autoshrink.files import write_text
from autoshrink.final.beginning import Source, brought, fitted, give_weights, past_of, trained_start
from autoshrink.final.folder import CURVE_FILE, STATE_FILE, Facts
from autoshrink.final.job import Job, State, Terms
from autoshrink.final.logs import GoingOn, Logs, opened
from autoshrink.final.watching import TrainingResult, TrainingWatcher
from autoshrink.machine import refuse_beyond_memory
from autoshrink.networks import build, set_normalisation
from autoshrink.quantity import counted
from autoshrink.report.curves import EpochFigures, curve_svg
from autoshrink.results import pretty
from autoshrink.training import checkpoint
from autoshrink.training.classifier_learner import ClassifierLearner, autocast_type, classifier_stops
from autoshrink.training.device import choose_device
from autoshrink.training.distributed import Processes, announced, own_device
from autoshrink.training.feeds import ImageData, Loading, Pictures, Share, open_training_data
from autoshrink.training.images import Normalisation
from autoshrink.training.ledger_file import ledger_tensors, parted
from autoshrink.training.loop import Course, Position, UnderWay

PICTURE_FILE = "curve.svg"
MOST_WORKERS = 8


def as_good(curve: Sequence[float], images: int) -> bool:
    """Whether a curve's last epoch is as good as its best: within one standard error of that accuracy.

    The one-standard-error rule (Breiman et al. 1984), in favour of late epochs: the learning rate falls to zero, and
    the highest of many accuracies on few images may be an early one by luck. The error is √(p(1 − p)/ñ) with ñ = n + 4,
    two right and two wrong images added (Agresti and Coull 1998): perfection on a few images has one too.
    """
    best = max(curve)
    share = (best * images + 2) / (images + 4)
    return curve[-1] >= best - math.sqrt(share * (1 - share) / (images + 4))


def kept_epoch(curve: Sequence[float], images: int) -> int:
    """The epoch, from 1, whose weights are the model after a curve."""
    return max(epoch for epoch in range(1, len(curve) + 1) if as_good(curve[:epoch], images))


@dataclass(frozen=True)
class ClassifierResult(TrainingResult):
    """What the training of a classifier left; its samples are the training images.

    Attributes:
        figures: of every epoch.
        seconds: it took, over all sessions.
        validation_images: that every epoch was measured on.
        data: what it was trained on.
    """

    architecture: ImageArchitecture
    figures: tuple[EpochFigures, ...]
    seconds: float
    validation_images: int
    data: ClassifierData

    @property
    def tested(self) -> bool:
        """Whether its data have a test split, or it kept test images back."""
        return has_test(self.data.spec, _keeping(self.data))

    @property
    def epoch(self) -> int:
        """Whose weights are the model, from 1: the last that was as good as the best."""
        return kept_epoch(self.course.curve, self.validation_images)

    @property
    def performance(self) -> float:
        """Validation accuracy of the model."""
        return self.course.curve[self.epoch - 1]

    @property
    def task(self) -> TaskName:
        """Images."""
        return "image"

    def to_json(self) -> dict[str, Any]:
        """The result object of ``autoshrink train --json``."""
        cost = count(self.architecture)
        return {
            "folder": str(self.folder),
            "model": str(self.folder / MODEL_FILE),
            "accuracy": self.performance,
            "loss": self.figures[self.epoch - 1].loss,
            "epoch": self.epoch,
            "epochs": len(self.course.curve),
            "ended": self.course.ended,
            "params": cost.params,
            "macs": cost.macs,
            "classes": self.architecture.classes,
            "training_images": self.samples,
            "seconds": round(self.seconds, 3),
        }


class ClassifierJob(Job):
    """The training of one classifier.

    Args:
        folder: where it lies.
        architecture: what is trained.
        settings: how.
        data: on what.
        network: its weights at the start, on the CPU.
        remark: told what a person should know.
    """

    task = "image"

    def __init__(
        self,
        folder: Path,
        architecture: ImageArchitecture,
        settings: ClassifierSettings,
        data: ImageData,
        network: nn.Module,
        *,
        remark: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self.architecture: ImageArchitecture = architecture
        self.settings = settings
        self.data = data
        self.figures: list[EpochFigures] = []
        self.logs = Logs()
        self.remark: Callable[[str], None] = remark
        self._skipped = len(data.training.skipped)
        recipe, processes, device = settings.recipe, announced(), _device(settings.device)
        set_normalisation(network, epsilon=recipe.bn_epsilon, momentum=recipe.bn_momentum)
        self.learner: ClassifierLearner = ClassifierLearner(
            _channels_last(network.to(device)),
            recipe,
            (data.training, data.validation),
            classes=len(data.classes),
            precision=autocast_type(recipe.precision, device),
            processes=processes,
        )
        if self.learner.stale and processes.first:
            steps = recipe.epochs * data.training.batches
            remark(
                f"BN's momentum of {recipe.bn_momentum:g} needs more than {counted(steps, 'step')} to forget its "
                "start: its statistics are taken anew on training images before they are used"
            )
        self.terms = Terms(classifier_stops(recipe), settings.threads, settings.save_every, processes)

    @property
    def averaging(self) -> bool:
        """Never: where a recipe averages, it does from the first step on."""
        return False

    def state(self, course: Course, position: Position | None) -> State:
        """Everything: weights, average, optimiser, counters, figures, and the place in the epoch."""
        tensors, facts = self.learner.state()
        return tensors | ledger_tensors(self.data.ledger), facts | {
            "architecture": self.architecture.to_json(),
            "classes": list(self.data.classes),
            "preprocessing": self.data.preprocessing.to_json(),
            "settings": self.settings.to_json(),
            "fingerprint": [self.data.fingerprint],
            "images": self.learner.epoch_samples,
            "validation_images": len(self.data.validation),
            "curve": list(course.curve),
            "ended": course.ended,
            "figures": [asdict(one) for one in self.figures],
            "position": None if position is None else asdict(position),
            "spent": round(self.spent, 3),
            "mlflow_run": self.logs.mlflow_run,
        }

    def save_best(self, course: Course) -> None:
        """With architecture, classes and preprocessing."""
        facts = {
            "epoch": len(course.curve),
            "performance": course.curve[-1],
            "loss": self.figures[-1].loss,
            "data": self.settings.to_json()["data"],
            "preset": self.settings.preset,
            "seed": self.settings.seed,
            "bn_epsilon": self.settings.recipe.bn_epsilon,
        }
        if self.data.ledger is not None:
            facts["kept_back"] = self.data.ledger.seal
        network, data = self.learner.evaluated, self.data
        interface = ImageInterface(data.classes, data.preprocessing)
        model = TrainedClassifier(
            self.architecture, network, interface, ModelFacts.model_validate(facts), ledger=data.ledger
        )
        save(self.folder / MODEL_FILE, model)

    def write_curve(self, course: Course) -> None:
        """Figures as JSON, and drawn."""
        write_curve(self.folder, course, self.figures, len(self.data.validation))

    def keeps(self, curve: Sequence[float]) -> bool:
        """Where it is as good as the best."""
        return as_good(curve, len(self.data.validation))

    def result(self, course: Course) -> ClassifierResult:
        """What the training left."""
        images, checked = self.learner.epoch_samples, len(self.data.validation)
        figures = tuple(self.figures)
        return ClassifierResult(
            self.folder, self.architecture, course, images, figures, self.spent, checked, self.settings.data
        )

    def learned(self, course: Course, position: Position, seconds: float) -> None:
        """Keep the figures of an epoch, and log them."""
        step = len(course.curve) * self.data.training.batches - 1
        figures = EpochFigures(
            accuracy=course.curve[-1],
            loss=self.learner.validation_loss,
            training_loss=position.total / position.samples,
            learning_rate=self.learner.rates.at(step),
        )
        self.figures.append(figures)
        self.logs.epoch(len(course.curve), asdict(figures) | {"images_per_second": position.samples / seconds})
        skipped = self.data.training.skipped
        if len(skipped) > self._skipped:
            # Images that are streamed are found out only when they are read.
            self._skipped = len(skipped)
            first = skipped[0]
            several = formatting.count(len(skipped), "image")
            self.remark(f"left out, since it cannot be decoded: {several}, first {first.path}: {first.reason}")

    @contextmanager
    def logging(self, course: Course) -> Iterator[None]:
        """Logs are the first process's."""
        if not self.terms.processes.first:
            yield
            return
        facts = {"params": count(self.architecture).params, "macs": count(self.architecture).macs}
        going_on = GoingOn(len(course.curve), self.logs.mlflow_run, self.remark)
        with opened(self.settings, self.folder, facts, going_on) as self.logs:
            yield

    def out_of_memory(self) -> str:
        """What to do where the device has too little memory."""
        recipe = self.settings.recipe
        return f"try a smaller --batch than {recipe.batch}, or --accumulate {2 * recipe.accumulation}"


def write_curve(folder: Path, course: Course, figures: list[EpochFigures], images: int) -> None:
    """The figures of every epoch, for scripts and for people."""
    columns = {
        "validation_accuracy": [round(one.accuracy, 6) for one in figures],
        "validation_loss": [round(one.loss, 6) for one in figures],
        "training_loss": [round(one.training_loss, 6) for one in figures],
        "learning_rate": [one.learning_rate for one in figures],
    }
    write_text(folder / CURVE_FILE, pretty(columns | {"ended": course.ended}), own=True)
    write_text(folder / PICTURE_FILE, curve_svg(figures, kept=kept_epoch(course.curve, images)), own=True)


@dataclass(frozen=True)
class ClassifierRequest:
    """What was asked for: an architecture, a cell, or nothing where trained weights have one; and settings."""

    target: ImageArchitecture | Cell | None
    overrides: Overrides

    @property
    def device(self) -> torch.device:
        """Where to train.

        Raises:
            InputError: it cannot be used.
        """
        return _device(str(self.overrides.get("device") or "auto"))

    def begin(self, folder: Path, watcher: TrainingWatcher) -> ClassifierJob:
        """The training, before its first step.

        Raises:
            InputError: a setting or the architecture cannot be used.
            DataError: the images cannot be used.
        """
        start, source = trained_start(self.overrides), Source.of(self._spec())
        architecture = fitted(self.target, start, source, watcher.remark)
        settings = classifier_settings(
            self.overrides,
            Occasion(
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
        data = _open(settings, architecture, known, past_of(start, source.spec, watcher.remark), watcher)
        _refuse_large_batch(settings, architecture, len(data.training), watcher)
        network = build(architecture, seed=settings.seed)
        if start is not None:
            give_weights(network, architecture, start, anew=start.classes != data.classes)
        return ClassifierJob(folder, architecture, settings, data, network, remark=watcher.remark)

    def _spec(self) -> str:
        data = self.overrides.get("data", {})
        spec = data.get("spec", "digits") if isinstance(data, Mapping) else None
        if not isinstance(spec, str):
            raise InputError(f"setting data.spec: a name or a path is needed (got {spec or data!r})")
        return spec


class ClassifierFacts(Facts):
    """What the state file says of its tensors."""

    architecture: ImageArchitecture
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    settings: ClassifierSettings
    images: PositiveInt
    validation_images: PositiveInt
    figures: tuple[EpochFigures, ...]
    position: Position | None
    averaged: NonNegativeInt
    scaler: dict[str, float]
    spent: NonNegativeFloat
    mlflow_run: str | None

    @classmethod
    def of(cls, facts: dict[str, Any], path: Path) -> ClassifierFacts:
        """From a file's facts, whose architecture is one already.

        Raises:
            InputError: they are damaged; the message names the file.
        """
        with checkpoint.understood(path):
            found = cls.model_validate(facts | {"preprocessing": Preprocessing.from_json(facts["preprocessing"])})
            if len(found.figures) != len(found.curve):
                raise InputError(f"figures: {len(found.figures)} epochs, and {len(found.curve)} in the curve")
            return found

    @property
    def device(self) -> torch.device:
        """Where to train."""
        return _device(self.settings.device)

    def write_curve(self, folder: Path) -> None:
        """The curve and its picture, from the state."""
        write_curve(folder, self.course, list(self.figures), self.validation_images)

    def result(self, folder: Path) -> ClassifierResult:
        """What an ended training left."""
        return ClassifierResult(
            folder,
            self.architecture,
            self.course,
            self.images,
            self.figures,
            self.spent,
            self.validation_images,
            self.settings.data,
        )

    def again(self, folder: Path, tensors: Mapping[str, Tensor], watcher: TrainingWatcher) -> ClassifierJob:
        """The training as it stands.

        Raises:
            DataError: the images are gone or have changed.
            InputError: the tensors do not fit; the message names the file.
        """
        tensors, ledger = parted(tensors, folder / STATE_FILE)
        past = Past(ledger, by_position=ledger is None)
        data = _open(self.settings, self.architecture, self.preprocessing, past, watcher)
        if data.fingerprint not in self.fingerprint or data.classes != self.classes:
            raise DataError(
                f"{self.settings.data.spec}: the images are not those that {folder} began with; restore them, or train "
                "anew"
            )
        network = build(self.architecture, seed=self.settings.seed)
        job = ClassifierJob(folder, self.architecture, self.settings, data, network, remark=watcher.remark)
        try:
            job.learner.restore(tensors, self.averaged, self.scaler)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"{folder / STATE_FILE}: damaged: its weights do not fit its architecture ({error})"
            ) from error
        job.figures, job.spent, job.logs = list(self.figures), self.spent, Logs(mlflow_run=self.mlflow_run)
        if self.position is not None:
            rest = job.learner.epoch(len(self.curve), start=self.position.steps)
            job.under_way = UnderWay(self.position, rest)
        return job


def _device(name: str) -> torch.device:
    return choose_device(own_device(name))


def _channels_last(network: nn.Module) -> nn.Module:
    """The network with its weights as the images lie: channels last."""
    placed: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed


def _keeping(data: ClassifierData) -> Keeping:
    return Keeping(data.test_share, data.group)


def _norm(preprocessing: Preprocessing) -> Normalisation:
    return Normalisation(preprocessing.mean, preprocessing.std)


def _refuse_large_batch(
    settings: ClassifierSettings, architecture: ImageArchitecture, images: int, watcher: TrainingWatcher
) -> None:
    """Say where a batch is all images; refuse one whose activations cannot fit (a GPU says that itself).

    Raises:
        InputError: it cannot fit into the CPU's memory.
    """
    recipe = settings.recipe
    if recipe.batch > images:
        watcher.remark(f"a batch of {recipe.batch:,} is all {images:,} training images: an epoch is one step")
    if _device(settings.device).type == "cpu":
        together = min(recipe.batch, images) // (recipe.accumulation * announced().count)
        need = together * count(architecture).peak_activation_bytes
        refuse_beyond_memory(need, f"{together:,} images in one batch", "try a smaller --batch, or more --accumulate")


def _open(
    settings: ClassifierSettings,
    architecture: ImageArchitecture,
    known: Preprocessing | None,
    past: Past,
    watcher: TrainingWatcher,
) -> ImageData:
    wanted, processes, channels = settings.data, announced(), architecture.input[0]
    norm = None if known is None else _norm(known)
    if norm is None and wanted.pixels == "symmetric":
        norm = Normalisation((0.5,) * channels, (0.5,) * channels)
    if settings.recipe.batch < 2 * processes.count:
        raise InputError(
            f"setting recipe.batch: {settings.recipe.batch} images are fewer than two for each of {processes.count} "
            "processes"
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
        device=_device(settings.device),
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


def _workers(asked: int | None, processes: Processes) -> int:
    """Processes that decode, beside this one: at most one a spare CPU."""
    if asked is not None:
        return asked
    return min(MOST_WORKERS, max(0, (os.cpu_count() or 1) // processes.count - 1))
