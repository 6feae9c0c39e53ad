"""Logs of a training for other tools: TensorBoard and MLflow, behind one small interface."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from autoshrink.config import FinalSettings
from autoshrink.errors import InputError
from autoshrink.optional import optional

TENSORBOARD_FOLDER = "tensorboard"
FROM_ENVIRONMENT = "env"
EXPERIMENT = "autoshrink"


class Log(Protocol):
    """Something that takes the figures of an epoch."""

    def epoch(self, number: int, figures: Mapping[str, float]) -> None:
        """An epoch, numbered from 1, is done."""


@dataclass(frozen=True)
class Logs:
    """Every log of a training.

    Attributes:
        logs: that are open.
        mlflow_run: the run in MLflow, which a resumed training goes on with.
    """

    logs: tuple[Log, ...] = field(default=())
    mlflow_run: str | None = None

    def epoch(self, number: int, figures: Mapping[str, float]) -> None:
        """An epoch, numbered from 1, is done."""
        for log in self.logs:
            log.epoch(number, figures)


@dataclass(frozen=True)
class GoingOn:
    """Where an earlier session ended.

    Attributes:
        done: epochs before; what was logged after them, before a kill, is taken back where that can be done.
        run: the run in MLflow to go on with.
        remark: told when a log fails in the middle, which does not end the training.
    """

    done: int
    run: str | None
    remark: Callable[[str], None]


@contextmanager
def opened(settings: FinalSettings, folder: Path, facts: Mapping[str, Any], going_on: GoingOn) -> Iterator[Logs]:
    """The logs that the settings ask for.

    Args:
        settings: of the training; they are logged too.
        folder: of the training.
        facts: further ones to log, by name.
        going_on: where an earlier session ended, and whom to tell what goes wrong.

    Raises:
        InputError: a package is missing, or MLflow does not answer.
    """
    run = going_on.run
    with ExitStack() as stack:
        logs: list[Log] = []
        if settings.tensorboard:
            logs.append(stack.enter_context(_tensorboard(folder / TENSORBOARD_FOLDER, going_on.done)))
        if settings.mlflow is not None:
            log = stack.enter_context(_mlflow(settings, folder, facts, going_on))
            logs.append(log)
            run = log.run
        yield Logs(tuple(logs), run)


class _TensorBoard:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def epoch(self, number: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, number)
        self._writer.flush()


@contextmanager
def _tensorboard(folder: Path, done: int) -> Iterator[_TensorBoard]:
    install = "pip install 'autoshrink[tensorboard]'"
    with optional("tensorboard", purpose="--tensorboard", install=install), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what tensorboard itself imports
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra
    # Epochs that a killed process logged and did not save are done again, and shown once.
    writer = SummaryWriter(str(folder), purge_step=done + 1)
    try:
        yield _TensorBoard(writer)
    finally:
        writer.close()


class _MLflow:
    def __init__(self, client: Any, run: str, remark: Callable[[str], None]) -> None:
        self._client = client
        self._remark = remark
        self.run = run

    def epoch(self, number: int, figures: Mapping[str, float]) -> None:
        with self._failing(f"epoch {number} is not logged"):
            for name, value in figures.items():
                self._client.log_metric(self.run, name, value, step=number)

    def close(self, status: str) -> None:
        with self._failing(f"the run is not marked {status}"):
            self._client.set_terminated(self.run, status)

    @contextmanager
    def _failing(self, consequence: str) -> Iterator[None]:
        """A server that is gone for a while does not end a training of days."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 - an extra

        try:
            yield
        except MlflowException as error:
            self._remark(f"MLflow: {consequence} ({_said(error)})")


@contextmanager
def _mlflow(settings: FinalSettings, folder: Path, facts: Mapping[str, Any], going_on: GoingOn) -> Iterator[_MLflow]:
    with optional("mlflow", purpose="--mlflow", install="pip install 'autoshrink[mlflow]'"):
        from mlflow import MlflowClient  # noqa: PLC0415 - an extra
        from mlflow.exceptions import MlflowException  # noqa: PLC0415
    uri = settings.mlflow if settings.mlflow != FROM_ENVIRONMENT else os.environ.get("MLFLOW_TRACKING_URI")
    try:
        client = MlflowClient(tracking_uri=uri)
        run = going_on.run or _begin(client, settings, folder, facts)
        client.update_run(run, status="RUNNING")
    except MlflowException as error:
        raise InputError(f"MLflow at {uri} does not take this training ({_said(error)})") from error
    log, status = _MLflow(client, run, going_on.remark), "KILLED"
    try:
        yield log
        status = "FINISHED"
    except Exception:  # whatever ended the training: it is noted in MLflow's run and goes on upwards
        status = "FAILED"
        raise
    finally:
        log.close(status)


def _said(error: Exception) -> str:
    """The first sentence of an error."""
    return str(error).splitlines()[0].split(". ")[0]


def _begin(client: Any, settings: FinalSettings, folder: Path, facts: Mapping[str, Any]) -> str:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    number = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT)
    run: str = client.create_run(number, run_name=folder.name).info.run_id
    for name, value in (dict(facts) | _flat(settings.to_json())).items():
        client.log_param(run, name, value)
    return run


def _flat(value: Mapping[str, Any], inside: str = "") -> dict[str, Any]:
    """Nested settings as ``recipe.epochs``."""
    found: dict[str, Any] = {}
    for name, entry in value.items():
        place = f"{inside}.{name}" if inside else name
        found |= _flat(entry, place) if isinstance(entry, Mapping) else {place: entry}
    return found
