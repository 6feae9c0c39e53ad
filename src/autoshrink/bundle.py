"""A trained model as one thing: its network, what its inputs and outputs mean, and where it came from; one file.

The file is a checkpoint (`autoshrink.training.checkpoint`): the weights, and the rest as JSON values by name. What a
task adds (its classes and preprocessing, its vocabulary) is an `Interface`, a value without tensors, which exported
files carry too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from autoshrink.architecture import Architecture, ImageArchitecture, LanguageModel
from autoshrink.data import Preprocessing, Vocabulary
from autoshrink.data.carving import Ledger
from autoshrink.errors import InputError
from autoshrink.registry import TASKS
from autoshrink.tasks import task_of
from autoshrink.untrusted import brief

if TYPE_CHECKING:
    import torch

MODEL_FILE = "model.safetensors"


class DataFacts(BaseModel):
    """The settings of the data that a model was trained on; of other kinds of data, other ones too."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")

    spec: str = ""

    def to_json(self) -> dict[str, Any]:
        """What was given."""
        return self.model_dump(exclude_unset=True)


class Facts(BaseModel):
    """Where a model came from; values that are not named here are kept as they are.

    Attributes:
        epoch: whose weights these are, from 1.
        performance: validation accuracy, −ln validation perplexity, or what the task's metric writes.
        bn_epsilon: what BN adds to the variance under the root.
        seed: of the training.
        data: what it was trained on.
        kept_back: the seal of the ledger of its images (`Ledger.seal`).
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")

    epoch: Annotated[int, Field(ge=0)] = 0
    performance: Annotated[float, Field(allow_inf_nan=False)] | None = None
    bn_epsilon: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    seed: int | None = None
    data: DataFacts = DataFacts()
    kept_back: str | None = None

    def to_json(self) -> dict[str, Any]:
        """What was given, by name."""
        return self.model_dump(exclude_unset=True)


class Interface(Protocol):
    """What a network's inputs and outputs mean to people: a frozen value."""

    def to_json(self) -> dict[str, Any]:
        """JSON values, each under a name of its own in the model's file."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any], architecture: Architecture) -> Self:
        """What `to_json` gave, perhaps among other values.

        Raises:
            KeyError: a value is missing.
            InputError: one cannot be used, or is not for this architecture.
        """


@dataclass(frozen=True)
class ImageInterface:
    """Of an image classifier.

    Attributes:
        classes: names; an output's index is an index into them.
        preprocessing: from an image file to the network's input.
    """

    classes: tuple[str, ...]
    preprocessing: Preprocessing

    def to_json(self) -> dict[str, Any]:
        """Under ``classes`` and ``preprocessing``."""
        return {"classes": list(self.classes), "preprocessing": self.preprocessing.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], architecture: Architecture) -> Self:
        """See `Interface`."""
        classes, preprocessing = _class_names(values["classes"]), Preprocessing.from_json(values["preprocessing"])
        assert isinstance(architecture, ImageArchitecture), "the task's own"
        if len(classes) != architecture.classes:
            raise InputError(f"{len(classes)} class names for {architecture.classes} classes")
        if (preprocessing.channels, preprocessing.size, preprocessing.size) != architecture.input:
            raise InputError(f"preprocessing for {preprocessing.size} pixels, the network reads {architecture.sizes}")
        return cls(classes, preprocessing)


def _class_names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InputError(f"classes: {brief(value)} is no list of names")
    if len(set(value)) != len(value):
        raise InputError("classes: a name stands there twice")
    return tuple(value)


@dataclass(frozen=True)
class TextInterface:
    """Of a language model: its tokens."""

    vocabulary: Vocabulary

    def to_json(self) -> dict[str, Any]:
        """Under ``vocabulary``."""
        return {"vocabulary": self.vocabulary.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], architecture: Architecture) -> Self:  # noqa: ARG003
        """See `Interface`."""
        return cls(Vocabulary.from_json(values["vocabulary"]))


@dataclass(frozen=True)
class TrainedModel:
    """A trained network with everything that is needed to use it; each task has its own class of them.

    Attributes:
        architecture: what it is.
        network: a `torch.nn.Module` with the weights of the epoch that was kept.
        interface: what goes in and what comes out.
        facts: where it came from.
        ledger: the images that it was trained on and those that were kept back, by their content; None for other data,
            and in files of versions that kept none.
    """

    interface_type: ClassVar[type[Interface]]
    architecture: Architecture
    network: Any
    interface: Interface
    facts: Facts
    ledger: Ledger | None = None


@dataclass(frozen=True)
class TrainedClassifier(TrainedModel):
    """An image classifier; its network turns images (B, C, H, W) into logits (B, classes)."""

    interface_type = ImageInterface
    architecture: ImageArchitecture
    interface: ImageInterface

    @property
    def classes(self) -> tuple[str, ...]:
        """Names; an output's index is an index into them."""
        return self.interface.classes

    @property
    def preprocessing(self) -> Preprocessing:
        """From an image file to the network's input."""
        return self.interface.preprocessing


@dataclass(frozen=True)
class TrainedLanguageModel(TrainedModel):
    """A language model; its network is an `autoshrink.networks.LanguageNetwork`."""

    interface_type = TextInterface
    architecture: LanguageModel
    interface: TextInterface

    @property
    def vocabulary(self) -> Vocabulary:
        """Its tokens."""
        return self.interface.vocabulary


Model = TypeVar("Model", bound=TrainedModel)


def save(path: Path, model: TrainedModel) -> None:
    """Write a model.

    Raises:
        RunError: the file cannot be written.
    """
    from autoshrink.training import checkpoint  # noqa: PLC0415 - torch takes seconds to import
    from autoshrink.training.ledger_file import ledger_tensors  # noqa: PLC0415

    values = model.facts.to_json() | {"architecture": model.architecture.to_json()} | model.interface.to_json()
    checkpoint.save(path, model.network.state_dict() | ledger_tensors(model.ledger), values)


def load(folder: Path, *, device: torch.device | None = None) -> TrainedModel:
    """The model in a folder that a training left, or in its file, on a device (the CPU), in evaluation mode.

    Raises:
        InputError: there is none, or it is damaged; the message names the file.
    """
    from autoshrink.networks import build, set_normalisation  # noqa: PLC0415 - torch takes seconds to import
    from autoshrink.training import checkpoint  # noqa: PLC0415
    from autoshrink.training.ledger_file import parted  # noqa: PLC0415

    path = model_path(folder)
    tensors, values = checkpoint.load(path)
    with checkpoint.understood(path):
        architecture = Architecture.from_json(values.pop("architecture"))
        kind = task_of(architecture).trained
        interface = kind.interface_type.from_json(values, architecture)
        facts = Facts.model_validate({name: values[name] for name in values if name not in interface.to_json()})
    weights, ledger = parted(tensors, path)
    network = build(architecture, seed=0)
    checkpoint.fill(network, weights, path)
    set_normalisation(network, epsilon=facts.bn_epsilon)
    return kind(architecture, network.to(device or "cpu").eval(), interface, facts, ledger)


def load_as(kind: type[Model], folder: Path, *, device: torch.device | None = None) -> Model:
    """As `load`, of one task's models only: ``load_as(TrainedClassifier, folder)``.

    Raises:
        InputError: there is none, it is damaged, or of another task.
    """
    model = load(folder, device=device)
    if not isinstance(model, kind):
        wanted = next(TASKS[name].a_model for name in TASKS if TASKS[name].trained is kind)
        raise InputError(f"{folder}: holds a {model.architecture.kind} network, and this needs {wanted}")
    return model


def model_path(folder: Path) -> Path:
    """The model file in a folder that a training left, or the file itself.

    Raises:
        InputError: there is none.
    """
    if not folder.exists():
        raise InputError(f"{folder}: no such file or folder")
    path = folder / MODEL_FILE if folder.is_dir() else folder
    if not path.exists():
        raise InputError(f"{folder}: holds no {MODEL_FILE}; `autoshrink train` makes one")
    return path
