"""The evaluator that trains every candidate from scratch, one after another (AutoShrink's own procedure)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from autoshrink.architecture import Architecture
from autoshrink.cell import Cell
from autoshrink.config import Recipe
from autoshrink.cost import count
from autoshrink.evaluation import Job
from autoshrink.networks import build
from autoshrink.score import Evaluation, Resources, Spent
from autoshrink.training.device import repeatable
from autoshrink.training.images import DeviceImages
from autoshrink.training.loop import Clock, DeadlineError, Trained, Training, TrainingError


@dataclass(frozen=True)
class Fidelity:
    """How candidates are trained: the recipe, on what precision, with how many CPU threads and how much time each."""

    recipe: Recipe
    precision: torch.dtype = torch.float32
    threads: int | None = None
    candidate_seconds: float | None = None


class TrainedEvaluator:
    """Trains each cell, in the proxy network, on the proxy's training images; performance is validation accuracy.

    Args:
        architecture: the network around a cell.
        train: training images, on the device.
        validation: validation images, on the same device.
        fidelity: how to train.
        on_epoch: called with the cell, the epoch from 1, and the validation accuracy.
    """

    def __init__(
        self,
        architecture: Callable[[Cell], Architecture],
        train: DeviceImages,
        validation: DeviceImages,
        *,
        fidelity: Fidelity,
        on_epoch: Callable[[Cell, int, float], None] = lambda *_: None,
    ) -> None:
        self._architecture = architecture
        self._train = train
        self._validation = validation
        self._fidelity = fidelity
        self._on_epoch = on_epoch
        self._resources: dict[Cell, Resources] = {}

    def resources(self, cell: Cell) -> Resources:
        """Counted from the architecture, once a cell."""
        if cell not in self._resources:
            cost = count(self._architecture(cell))
            self._resources[cell] = Resources(cost.macs, cost.params, cost.peak_activation_bytes)
        return self._resources[cell]

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        """Train the jobs in order; see `autoshrink.evaluation.Evaluator`."""
        for position, job in enumerate(jobs):
            began = time.monotonic()
            limit = self._fidelity.candidate_seconds
            clock = Clock(
                candidate=began + limit if limit is not None else Clock.candidate,
                search=deadline if deadline is not None else Clock.search,
            )
            try:
                with repeatable(self._fidelity.threads):
                    evaluation = self._train_one(job, clock)
            except DeadlineError:
                return
            spent = replace(evaluation.spent, seconds=time.monotonic() - began)
            yield position, replace(evaluation, spent=spent)

    def _train_one(self, job: Job, clock: Clock) -> Evaluation:
        architecture = self._architecture(job.cell)
        training: Training | None = None
        try:
            network = build(architecture, seed=job.seed)
            # Channels last: half as fast again as channels first on the CPU for these small depthwise convolutions.
            network.to(self._train.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            training = Training(
                network,
                self._fidelity.recipe,
                seed=job.seed,
                classes=architecture.classes,
                precision=self._fidelity.precision,
                clock=clock,
                on_epoch=lambda epoch, accuracy: self._on_epoch(job.cell, epoch, accuracy),
            )
            outcome: Trained | str = training.run(self._train, self._validation)
        except TrainingError as error:
            outcome = str(error)
        except (RuntimeError, MemoryError) as error:
            outcome = out_of_memory(error)
        if isinstance(outcome, str) and self._train.device.type == "cuda":
            torch.cuda.empty_cache()
        return self._evaluation(job, outcome, training)

    def _evaluation(self, job: Job, outcome: Trained | str, training: Training | None) -> Evaluation:
        resources = self.resources(job.cell)
        images, validated = (training.images, training.validated) if training else (0, 0)
        trained = outcome if isinstance(outcome, Trained) else None
        return Evaluation(
            job.cell,
            resources,
            job.seed,
            fidelity=f"{self._fidelity.recipe.epochs} epochs × {len(self._train):,} images",
            performance=trained.accuracy if trained else None,
            reason=None if isinstance(outcome, Trained) else outcome,
            ended=trained.ended if trained else "failed",
            curve=trained.curve if trained else (),
            correct=trained.correct if trained else None,
            spent=Spent(images, resources.macs * (3 * images + validated)),
        )


def out_of_memory(error: RuntimeError | MemoryError) -> str:
    """What to say of an out-of-memory error; any other error is raised again.

    torch has an exception class for devices only; on the CPU its allocator raises a RuntimeError.
    """
    text = str(error)
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    signs = ("not enough memory", "can't allocate memory", "Storage size calculation overflowed")
    if known or any(sign in text for sign in signs):
        return f"out of memory: {text.splitlines()[0] if text else 'no room for a tensor'}"
    raise error
