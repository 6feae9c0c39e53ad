"""`train` and `resume_training`: one way for every task, in a folder, saved as it goes, ended as it must."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from filelock import FileLock, Timeout
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_validator,
)
from torch import Tensor

from autoshrink.architecture import Architecture, first_problem
from autoshrink.bundle import MODEL_FILE, Facts, Interface, load, save
from autoshrink.cell import Cell
from autoshrink.config import FinalSettings, Overrides, merge
from autoshrink.cost import count
from autoshrink.data import anchored
from autoshrink.data.carving import Ledger
from autoshrink.errors import DataError, InputError, RunError
from autoshrink.escaping import printable, shown
from autoshrink.files import check_folder, named, remove_drafts, write_text
from autoshrink.final.base import Epoch, FinalProblem, Request, TaskTraining, TrainingResult, TrainingWatcher
from autoshrink.final.logs import GoingOn, Logs, opened
from autoshrink.metrics import EpochFigures
from autoshrink.results import pretty
from autoshrink.tasks import task_of
from autoshrink.training import checkpoint
from autoshrink.training.device import repeatable
from autoshrink.training.distributed import announced, joined
from autoshrink.training.ledger_file import ledger_tensors, parted
from autoshrink.training.loop import Batch, History, Position, TrainingError, UnderWay, Validation, fit

STATE_FILE = "training.safetensors"
LOCK_FILE = "training.lock"


def train(
    architecture: Architecture | Cell | None = None,
    overrides: Overrides | None = None,
    *,
    out: str | os.PathLike[str],
    width: int | None = None,
    params: int | None = None,
    watcher: TrainingWatcher | None = None,
) -> TrainingResult:
    """Train an image classifier on images, a language model on a text, or another task's network on its data.

    Started by ``torchrun``, the processes train one classifier together.

    Args:
        architecture: what to train; its vocabulary, or its classes, become the data's. A conv cell becomes the paper's
            proxy network for the images' size. None: that of the classifier in ``start``.
        overrides: nested settings, for example ``{"data": {"spec": "cifar10"}, "recipe": {"epochs": 10}}``; ``"start"``
            is the folder of a trained classifier to go on from with other images.
        out: the folder; made if need be.
        width: embedding and hidden size instead of the architecture's (language models).
        params: or the largest width with at most so many parameters (language models).
        watcher: told about progress.

    Raises:
        InputError: a setting or the architecture cannot be used.
        DataError: the data cannot be used.
        RunError: the folder holds a training, is in use, or cannot be written; or the training diverged.
    """
    folder, mine = named(out), announced().first
    request = Request(architecture, _anchored(overrides or {}), {"width": width, "params": params})
    training: TaskTraining = task_of(architecture or _started_from(request.overrides)).training()
    device = training.device(str(request.overrides.get("device") or "auto"))
    watcher = watcher if watcher is not None and mine else TrainingWatcher()
    with _locked(folder, mine=mine):
        if mine:
            _refuse_used(folder)
        with joined(device):
            return _begun(training, request, folder, watcher)


def resume_training(folder: str | os.PathLike[str], *, watcher: TrainingWatcher | None = None) -> TrainingResult:
    """Go on with a training where it was last saved; a finished one is returned as it is.

    Raises:
        InputError: there is no training in the folder, or its checkpoint is damaged.
        DataError: the data are gone or have changed.
        RunError: the folder is in use or cannot be written.
    """
    folder, mine = named(folder), announced().first
    watcher = watcher if watcher is not None and mine else TrainingWatcher()
    if not (folder / STATE_FILE).exists():
        raise InputError(f"{folder}: holds no training; `autoshrink train` begins one")
    with _locked(folder, mine=mine):
        saved = _Saved.read(folder / STATE_FILE)
        facts = saved.facts
        if facts.ended:
            watcher.remark(f"{folder} is finished: nothing to do")
            result = facts.result(folder, saved.settings)
            if mine:
                # A process that was killed right after its last save may have left an older one.
                _write_curve(result)
            return result
        with joined(saved.training.device(saved.settings.device)):
            return _resumed(saved, folder, watcher)


# In functions of their own: nothing that they make outlives the group of processes.


def _begun(training: TaskTraining, request: Request, folder: Path, watcher: TrainingWatcher) -> TrainingResult:
    with _enough_memory():
        problem = training.begin(request, watcher)
    return _Session(folder, training, problem, watcher).run(fresh=True)


def _resumed(saved: _Saved, folder: Path, watcher: TrainingWatcher) -> TrainingResult:
    facts, path = saved.facts, folder / STATE_FILE
    with _enough_memory():
        problem = saved.training.again(facts.architecture, saved.settings, saved.interface, saved.ledger, watcher)
        if not {*problem.fingerprint} <= {*facts.fingerprint} or problem.interface != saved.interface:
            what = f"the {task_of(facts.architecture).data} are not those that {folder} began with"
            raise DataError(f"{saved.settings.data.spec}: {what}; restore them, or train anew")
        try:
            problem.learner.restore(saved.tensors, facts.learner, facts.curve)
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise InputError(f"{path}: damaged: its weights do not fit its architecture ({reason})") from error
    session = _Session(folder, saved.training, problem, watcher)
    session.go_on(facts)
    return session.run()


def _started_from(overrides: Overrides) -> Architecture:
    start = overrides.get("start")
    if start is None:
        raise InputError("nothing to train: give an architecture or a cell, or --from a trained classifier")
    return load(Path(str(start))).architecture


def _anchored(overrides: Overrides) -> dict[str, Any]:
    """Settings that mean the same from any folder."""
    data, start = overrides.get("data", {}), overrides.get("start")
    found = dict(overrides)
    spec = data.get("spec") if isinstance(data, dict) else None
    if isinstance(spec, str):
        named(spec)
        found = merge(found, {"data": {"spec": anchored(spec)}})
    if isinstance(start, str):
        found["start"] = str(named(start).expanduser().resolve())
    return found


# --- the folder ----------------------------------------------------------------------------------------------------


@contextmanager
def _locked(folder: Path, *, mine: bool) -> Iterator[None]:
    """One training a folder, which is made if need be; nothing where the lock is another process's business.

    Raises:
        RunError: another process is training there, or the folder cannot be written.
    """
    if not mine:
        yield
        return
    check_folder(folder)
    if printable(str(folder)) != str(folder):
        raise RunError(f"{shown(folder)}: the name is not UTF-8, and safetensors opens no such file; choose another")
    lock = FileLock(folder / LOCK_FILE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"{folder}: another process is training here") from None
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror or error})") from error
    try:
        # What a process that was killed in the middle of writing left behind; whoever has the lock writes alone.
        remove_drafts(folder)
        yield
    finally:
        lock.release()


def _refuse_used(folder: Path) -> None:
    begun = (folder / STATE_FILE).exists()
    if begun or (folder / MODEL_FILE).exists():
        way_out = f"go on with `autoshrink resume {folder}` or choose" if begun else "choose"
        raise RunError(f"{folder}: holds a {'training' if begun else 'model'} already; {way_out} another folder")


class _State(BaseModel):
    """What a state file says of its tensors beside the interface; what is not named here is the learner's.

    Version 0.1 had the samples' own names, and of texts no figures, places within an epoch, and times.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False, arbitrary_types_allowed=True)

    architecture: Architecture
    settings: dict[str, Any]
    fingerprint: list[str]
    curve: tuple[float, ...]
    ended: str | None
    averaged: NonNegativeInt
    samples: Annotated[PositiveInt, Field(validation_alias=AliasChoices("samples", "images", "tokens"))]
    validation_samples: Annotated[
        PositiveInt, Field(validation_alias=AliasChoices("validation_samples", "validation_images"))
    ] = 1
    figures: tuple[EpochFigures, ...] | None = None
    position: Position | None = None
    spent: NonNegativeFloat = 0.0
    mlflow_run: str | None = None

    @field_validator("figures", mode="before")
    @classmethod
    def _renamed(cls, value: Any) -> Any:
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            return value
        return [{"performance" if name == "accuracy" else name: one[name] for name in one} for one in value]

    @property
    def history(self) -> History:
        """How far the training is. Of the best epoch only its performance is known."""
        best = Validation(max(self.curve), -max(self.curve)) if self.curve else None
        return History(self.curve, best, ended=self.ended)

    @property
    def learner(self) -> dict[str, Any]:
        """What the learner said of itself."""
        return {"averaged": self.averaged} | (self.model_extra or {})

    def result(self, folder: Path, settings: FinalSettings) -> TrainingResult:
        """What an ended training left."""
        return TrainingResult(
            folder,
            self.architecture,
            settings,
            self.history,
            self.samples,
            self.validation_samples,
            self.figures or (),
            self.spent,
        )


@dataclass(frozen=True)
class _Saved:
    """A state file, read."""

    facts: _State
    settings: FinalSettings
    interface: Interface
    training: TaskTraining
    tensors: dict[str, Tensor]
    ledger: Ledger | None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Check everything but the tensors.

        Raises:
            InputError: the file is damaged; the message names it.
        """
        tensors, values = checkpoint.load(path)
        with checkpoint.understood(path):
            architecture = values["architecture"] = Architecture.from_json(values["architecture"])
            task = task_of(architecture)
            interface = task.trained.interface_type.from_json(values, architecture)
            facts = _State.model_validate(
                {name: value for name, value in values.items() if name not in interface.to_json()}
            )
            training: TaskTraining = task.training()
            try:
                settings = training.settings.model_validate(facts.settings)
            except ValidationError as error:
                raise InputError(f"settings.{first_problem(error)}") from error
            if facts.figures is not None and len(facts.figures) != len(facts.curve):
                raise InputError(f"figures: {len(facts.figures)} epochs, and {len(facts.curve)} in the curve")
        weights, ledger = parted(tensors, path)
        return cls(facts, settings, interface, training, weights, ledger)


def _write_curve(result: TrainingResult) -> None:
    """The figures of every epoch, for scripts and people; made from the state, so that they can be made again."""
    training: TaskTraining = result.task.training()
    for name, content in training.files(result.history.curve, result.figures, result.epoch).items():
        text = content if isinstance(content, str) else pretty(content | {"ended": result.history.ended})
        write_text(result.folder / name, text, own=True)


# --- the training --------------------------------------------------------------------------------------------------


class _Session:
    """One process's part in a training, between a start and an end or a kill."""

    def __init__(self, folder: Path, training: TaskTraining, problem: FinalProblem, watcher: TrainingWatcher) -> None:
        self._folder, self._training, self._problem, self._watcher = folder, training, problem, watcher
        self._learner, self._first = problem.learner, problem.processes.first
        self._course, self._position, self._figures = History(), Position(), list[EpochFigures]()
        self._spent, self._logs = 0.0, Logs()
        self._under_way: UnderWay | None = None

    def go_on(self, facts: _State) -> None:
        """From where an earlier session saved, the learner's state restored."""
        self._course, self._spent, self._logs = facts.history, facts.spent, Logs(mlflow_run=facts.mlflow_run)
        known = facts.figures
        if known is None:  # a text's of version 0.1
            known = tuple(EpochFigures(one, -one) for one in facts.curve)
        self._figures = list(known)
        if facts.position is not None:
            rest = self._learner.epoch(len(facts.curve), start=facts.position.steps)
            self._under_way, self._position = UnderWay(facts.position, rest), facts.position

    def run(self, *, fresh: bool = False) -> TrainingResult:
        """Train to the end; a fresh one can be gone on with from here, also when it is stopped in its first epoch.

        Raises:
            RunError: the training diverged, the device is out of memory, or the folder cannot be written.
        """
        problem = self._problem
        with self._logging():
            if fresh:
                self._save()
            self._watcher.on_start(problem.architecture, self._learner.epoch_samples, len(self._course.curve))
            self._began = self._saved = self._counted = time.monotonic()
            self._done = self._position.samples
            try:
                with repeatable(problem.settings.threads):
                    self._course = fit(
                        self._learner,
                        problem.stops,
                        history=self._course,
                        under_way=self._under_way,
                        on_batch=self._on_batch,
                        on_step=self._on_step,
                        on_epoch=self._on_epoch,
                    )
            except TrainingError as error:
                raise RunError(f"{error}{self._given_up()}; try a lower --lr") from error
            except torch.OutOfMemoryError as error:
                way_out = self._training.way_out(problem.settings)
                raise RunError(f"{_shortage(error)}{self._given_up()}; {way_out}") from error
            self._save()
        return self._result()

    def _result(self) -> TrainingResult:
        problem = self._problem
        return TrainingResult(
            self._folder,
            problem.architecture,
            problem.settings,
            self._course,
            self._learner.epoch_samples,
            problem.validation_samples,
            tuple(self._figures),
            self._spent,
        )

    @contextmanager
    def _logging(self) -> Iterator[None]:
        if not self._first:
            yield
            return
        problem, cost = self._problem, count(self._problem.architecture)
        going_on = GoingOn(len(self._course.curve), self._logs.mlflow_run, self._watcher.remark)
        facts = {"params": cost.params, "macs": cost.macs}
        with opened(problem.settings, self._folder, facts, going_on) as self._logs:
            yield

    def _save(self, position: Position | None = None) -> None:
        """Keep where the training stands, and its curve.

        Raises:
            RunError: it cannot be written; what was saved before is still there.
        """
        if not self._first:
            return
        problem = self._problem
        tensors, facts = self._learner.state()
        values: dict[str, Any] = {
            "architecture": problem.architecture.to_json(),
            "settings": problem.settings.to_json(),
            "fingerprint": problem.fingerprint,
            "samples": self._learner.epoch_samples,
            "validation_samples": problem.validation_samples,
            "curve": list(self._course.curve),
            "ended": self._course.ended,
            "figures": [asdict(one) for one in self._figures],
            "position": None if position is None else asdict(position),
            "spent": round(self._spent, 3),
            "mlflow_run": self._logs.mlflow_run,
        }
        values |= problem.interface.to_json() | facts
        checkpoint.save(self._folder / STATE_FILE, tensors | ledger_tensors(problem.ledger), values)
        if self._course.curve and position is None:
            _write_curve(self._result())

    def _save_model(self) -> None:
        """Keep the weights of the epoch that was just measured as the model."""
        problem, settings = self._problem, self._problem.settings
        facts = {
            "epoch": len(self._course.curve),
            "performance": self._course.curve[-1],
            "loss": self._figures[-1].loss,
            "data": settings.to_json()["data"],
            "seed": settings.seed,
        }
        if problem.ledger is not None:
            facts["kept_back"] = problem.ledger.seal
        kind = task_of(problem.architecture).trained
        found = Facts.model_validate(facts | problem.facts)
        network = self._learner.evaluated
        save(self._folder / MODEL_FILE, kind(problem.architecture, network, problem.interface, found, problem.ledger))

    def _given_up(self) -> str:
        """What is left after a failure; where nothing was learned, the folder is free for another try."""
        if self._course.curve:
            return f"; {self._folder} keeps the best epoch before"
        if self._first:
            (self._folder / STATE_FILE).unlink(missing_ok=True)
        return ""

    def _on_batch(self, batch: Batch) -> None:
        self._done += batch.samples
        self._watcher.on_batch(len(self._course.curve) + 1, self._done, self._learner.epoch_samples)

    def _on_step(self, position: Position) -> None:
        self._position = position
        if time.monotonic() - self._saved >= self._problem.save_every:
            self._count()
            self._save(position)
            self._saved = time.monotonic()

    def _count(self) -> None:
        now = time.monotonic()
        self._spent += now - self._counted
        self._counted = now

    def _on_epoch(self, now: History) -> None:
        problem, done = self._problem, self._position
        self._course = now
        seconds = time.monotonic() - self._began
        self._count()
        assert now.last is not None, "an epoch was measured"
        epoch = len(now.curve)
        figures = EpochFigures(
            now.curve[-1], now.last.loss, done.total / done.samples, self._learner.learning_rate(epoch - 1)
        )
        self._figures.append(figures)
        task = task_of(problem.architecture)
        logged = {f"{task.metric.sample}s_per_second": done.samples / seconds} | asdict(figures)
        self._logs.epoch(epoch, logged | {task.metric.name: task.metric.value(logged.pop("performance"))})
        problem.after_epoch()
        kept = self._training.keeps(now.curve, problem.validation_samples)
        if kept and self._first:
            # Before the state: a process that is killed in between does the epoch again.
            self._save_model()
        self._save()
        self._began = self._saved = time.monotonic()
        self._done, self._position = 0, Position()
        self._watcher.on_epoch(
            Epoch(
                task=task,
                number=epoch,
                epochs=problem.stops.epochs,
                performance=now.curve[-1],
                best=max(now.curve),
                kept=kept,
                samples=self._learner.epoch_samples,
                seconds=seconds,
                averaging=self._learner.averaging,
            )
        )


@contextmanager
def _enough_memory() -> Iterator[None]:
    """Around what comes before the first step.

    Raises:
        RunError: data and network do not fit on the device.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RunError(f"{_shortage(error)} before the first step; try --stream or another --device") from error


def _shortage(error: torch.OutOfMemoryError) -> str:
    return f"out of memory ({str(error).splitlines()[0].split('. ')[0]})"
