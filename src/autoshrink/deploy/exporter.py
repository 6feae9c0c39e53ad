"""How networks leave PyTorch, and the check that nothing changes on the way; a task may do it in its own manner.

Shape letters: n samples. Nothing here imports torch before a network is there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from autoshrink.architecture import Architecture
from autoshrink.bundle import TrainedModel
from autoshrink.deploy.card import Card, write_model
from autoshrink.deploy.parity import Parity, compare, refuse_beyond
from autoshrink.errors import InputError
from autoshrink.files import replacing
from autoshrink.onnx.session import open_session
from autoshrink.tasks import Task, task_of

if TYPE_CHECKING:
    from autoshrink.deploy.quantisation import Int8, Int8Result
    from autoshrink.onnx.export import Form

TOLERANCE = 1e-4
SAMPLES = 64

Array = npt.NDArray[Any]
Call = Callable[..., tuple[Array, ...]]
"""A program in a file, run once: inputs to outputs, arrays in the order of `Form`."""


class Exporter:
    """The exporter of networks that make one tensor of numbers from another, each with a leading axis of samples.

    Attributes:
        task: whose networks they are.
        parts: what files a model becomes; the first is the one that was asked for.
        samples_count: how many samples are compared with PyTorch.
        calibrates: whether int8 measures ranges on real samples.
    """

    parts: ClassVar[tuple[str, ...]] = ("network",)
    samples_count: ClassVar[int] = SAMPLES
    calibrates: ClassVar[bool] = False
    example: ClassVar[str] = "samples.npy"
    """What `autoshrink predict` is given beside the file, for the line that says what comes next."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def names(self, part: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Of a part's inputs and outputs."""
        del part
        return (self.task.input_name,), (self.task.output_name,)

    def place(self, path: Path, part: str) -> Path:
        """Where a part's file lies: the first at `path`, ``model.loop.onnx`` beside ``model.onnx``."""
        return path if part == self.parts[0] else path.with_suffix(f".{part}{path.suffix}")

    def form(self, model: TrainedModel) -> Form:
        """The first part, as runtimes of one sample take it."""
        from autoshrink.onnx.untrained import form_of  # noqa: PLC0415 - torch

        return form_of(model.architecture, model.network, lambda: self._shape(model))

    def proto(self, model: TrainedModel, part: str, opset: int) -> Any:
        """A part as an `onnx.ModelProto`."""
        from autoshrink.onnx.export import to_onnx  # noqa: PLC0415 - torch

        del part
        return to_onnx(self.form(model), opset=opset)

    def real(self, model: TrainedModel, data: str | None, count: int, seed: int = 0) -> Array:
        """Training samples as the network reads them, (n, …), n at most `count`; `seed` decides which.

        `data` names other data than those that the model was trained on.

        Raises:
            DataError: the data cannot be used.
            InputError: the task says nothing of its samples.
        """
        samples: Array = self.task.samples(model, data=data, count=count, seed=seed)
        return samples

    def noise(self, model: TrainedModel) -> Array:
        """Random samples of the network's shape."""
        return random_numbers().standard_normal((self.samples_count, *self._shape(model))).astype(np.float32)

    def _shape(self, model: TrainedModel) -> tuple[int, ...]:
        """Of one sample, where the trained model or the architecture says."""
        shape: tuple[int, ...] = getattr(model.interface, "shape", None) or self.task.example(model.architecture)
        return shape

    def parity(self, model: TrainedModel, part: str, call: Call, samples: Array, *, batches: bool = True) -> Parity:
        """How far a program, one of the model's parts, is from its network in evaluation mode, on samples (n, …).

        Where it takes `batches`, one sample and the others together are tried; fewer than three are repeated.

        Raises:
            InputError: there is no sample.
        """
        del part
        refuse_none(samples)
        network = reference(model.network)
        if not batches:
            # One at a time, as the program reads them, and so that large samples fit.
            expected, found = (np.concatenate([run(one[np.newaxis])[0] for one in samples]) for run in (network, call))
            return compare([((1, *samples.shape[1:]), expected, found)])
        others = samples[1:] if len(samples) > 2 else np.concatenate([samples] * 3)
        return compare((batch.shape, network(batch)[0], call(batch)[0]) for batch in (samples[:1], others))

    def verify(self, card: Card, session: Any, path: Path) -> None:
        """Refuse a file whose metadata are not those of the network in it.

        Raises:
            InputError: the names of inputs and outputs, or what a task knows of them, do not agree.
        """
        if card.part not in self.parts:
            raise InputError(f"{path}: its metadata is damaged (part {card.part!r}); export it again")
        expected = tuple(map(set, self.names(card.part)))
        inputs, outputs = ({one.name for one in some} for some in (session.get_inputs(), session.get_outputs()))
        if (inputs, outputs) != expected:
            found = f"takes {_listed(inputs)} and gives {_listed(outputs)}"
            raise InputError(
                f"{path}: its network {found}, and its metadata tells of one that takes {_listed(expected[0])} and "
                f"gives {_listed(expected[1])}; export it again"
            )

    def int8(
        self, model: TrainedModel, path: Path, how: Int8, data: str | None, progress: Callable[[str, int, int], None]
    ) -> Int8Result:
        """Write the int8 version of a file beside it, and measure on request what that costs.

        Raises:
            InputError: the task has none, or a package is missing.
            DataError: the data cannot be used.
        """
        del model, path, how, data, progress
        self.task.refuse("int8")

    def source(self) -> Any:
        """What writes plain source: a module with ``render`` and ``page``, as `plain_source.image` is.

        Raises:
            InputError: the task has none.
        """
        self.task.refuse("plain source; export it as ONNX")


def exporter_of(architecture: Architecture) -> Exporter:
    """The exporter of an architecture's task: its own, or the general one."""
    task = task_of(architecture)
    own = task.exporter()
    return Exporter(task) if own is None else own


def write_onnx(
    model: TrainedModel, path: Path, samples: Array, *, tolerance: float = TOLERANCE, opset: int | None = None
) -> dict[str, Parity]:
    """Write a model as one ONNX file for each of its parts, unless one computes something else; parity by part.

    An image classifier's takes ``images``, float32 (n, C, s, s), normalised as the metadata's preprocessing says, and
    gives ``logits``, float32 (n, classes). A language model's step takes ``tokens`` int64 (B,) and ``state`` float32
    (k, B, n) and gives ``logits`` (B, V) and ``next_state`` (k, B, n); its loop takes ``tokens`` (T, B) and gives
    ``logits`` (T, B, V). A text starts with a state of zeros.

    Args:
        model: the model.
        path: the first part's file; all are written whole, and all or none.
        samples: real ones: `Exporter.real`.
        tolerance: how far outputs may be from PyTorch's, see `Parity.passes`.
        opset: of ONNX; None: the oldest that torch writes.

    Raises:
        InputError: a package is missing, the opset cannot be written, or the difference is above the tolerance.
        DataError: there are too few samples.
        RunError: a file cannot be written.
    """
    from autoshrink.onnx.export import OPSET  # noqa: PLC0415 - torch

    exporter = exporter_of(model.architecture)
    protos = {part: exporter.proto(model, part, opset or OPSET) for part in exporter.parts}
    parities = {}
    with ExitStack() as drafts:
        for part, proto in protos.items():
            place = exporter.place(path, part)
            draft = drafts.enter_context(replacing(place))
            write_model(proto, draft, Card.of(model, part))
            parities[part] = exporter.parity(model, part, call_of(draft), samples)
            refuse_beyond(tolerance, parities[part], place)
    return parities


def call_of(path: Path, *, threads: int = 1) -> Call:
    """An ONNX file as a program.

    Raises:
        InputError: it cannot be loaded.
    """
    session = open_session(path, threads=threads)
    inputs = [one.name for one in session.get_inputs()]

    def call(*arrays: Array) -> tuple[Array, ...]:
        return tuple(session.run(None, dict(zip(inputs, arrays, strict=True))))

    return call


def reference(network: Any) -> Call:
    """A network of torch in evaluation mode on the CPU as a program: BN by its running statistics, as in files."""
    import torch  # noqa: PLC0415 - a network has brought it

    twin = copy.deepcopy(network).cpu().eval()

    def call(*arrays: Array) -> tuple[Array, ...]:
        with torch.no_grad():
            found = twin(*(torch.from_numpy(np.ascontiguousarray(one)) for one in arrays))
        return tuple(one.numpy() for one in (found if isinstance(found, tuple) else (found,)))

    return call


def refuse_none(samples: Sequence[Any] | Array) -> None:
    """Refuse to compare nothing.

    Raises:
        InputError: there is no sample.
    """
    if not len(samples):
        raise InputError("not one real sample to compare with PyTorch; give data that has some")


def random_numbers() -> np.random.Generator:
    """From which noise is drawn: always the same."""
    return np.random.Generator(np.random.PCG64(0))


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
