"""Predictions from an exported ONNX file and nothing else: neither torch nor the data it was trained on is needed.

Shape letters: n images, C channels, H height, W width; B streams, V vocabulary, k layers of state.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, ClassVar, Self, Unpack

import numpy as np
import numpy.typing as npt

from autoshrink import formatting
from autoshrink.bundle import ImageInterface, TextInterface
from autoshrink.data import Preprocessing, Vocabulary
from autoshrink.data.decoding import CORRUPT, reading_images
from autoshrink.data.folder_layout import Ignored, files_below
from autoshrink.data.formats import EXTENSIONS
from autoshrink.data.images import Payload, Pixels, reason
from autoshrink.deploy.card import Card, open_card
from autoshrink.errors import DataError, InputError
from autoshrink.escaping import printable, shown
from autoshrink.files import irregular, named
from autoshrink.generation import Draws, Generated, continued, softmax
from autoshrink.onnx.session import KINDS
from autoshrink.quantity import counted
from autoshrink.registry import TASKS
from autoshrink.tasks import Task, task_of

Floats = npt.NDArray[np.float32]
Remark = Callable[[object], None]

BATCH = 16
"""Images that are predicted together."""


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of one image: (class, probability) pairs, the likeliest first.

    `source` is the file's path, or the number of the image among those given.
    """

    source: str
    ranked: tuple[tuple[str, float], ...]

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        top = [{"class": name, "probability": round(chance, 6)} for name, chance in self.ranked]
        return {"image": self.source, "class": self.ranked[0][0], "probability": top[0]["probability"], "top": top}


@dataclass(frozen=True)
class Answer:
    """What a model says of what it was given: lines for people as they come, or all of it as a JSON object."""

    lines: Iterable[str]
    to_json: Callable[[], dict[str, Any]]


class OnnxModel:
    """A network in an ONNX file that `autoshrink export` wrote; of a task that says no more, arrays in, arrays out.

    Attributes:
        card: everything that the file says of itself.
        facts: of its training: `epoch`, `performance` as the task's metric has it, `data` with its `spec`.
        params: its parameters, without BN.
        macs: multiply-accumulates of one sample.
    """

    task: ClassVar[str] = ""
    wants: ClassVar[str] = ""
    """How it is used, for who gave it something else."""

    def __init__(self, session: Any, card: Card) -> None:
        self._session = session
        self.card = card
        self.facts: Mapping[str, Any] = card.facts.to_json()
        self.params, self.macs = card.params, card.macs

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, threads: int = 1, unchecked: bool = False) -> Self:
        """The network in a file, run by so many CPU threads; `unchecked` where another tool rewrote it.

        Raises:
            InputError: onnxruntime is missing, or the file is missing, no ONNX file, not exported by autoshrink, or of
                another task.
        """
        found = open_exported(path, threads=threads, unchecked=unchecked)
        if not isinstance(found, cls):
            holds, wanted = (task.a_model for task in (found.task_itself, TASKS[cls.task]))
            raise InputError(f"{path}: holds {holds}, not {wanted}{found.wants}")
        return found

    @property
    def task_itself(self) -> Task:
        """The task that it was trained for."""
        return task_of(self.card.architecture)

    def run(self, *inputs: npt.ArrayLike) -> dict[str, npt.NDArray[Any]]:
        """Arrays in the order of the network's inputs to arrays by the names of its outputs.

        An array may be a single sample, without the axis of samples, and hold numbers of another kind that can be cast
        without loss of more than precision.

        Raises:
            InputError: they are not as many as the inputs, have other shapes or kinds, or the runtime refuses them.
        """
        wanted = self._session.get_inputs()
        names = [one.name for one in wanted]
        if len(inputs) != len(names):
            raise InputError(f"{counted(len(inputs), 'array')} for the inputs {', '.join(names)}")
        given = dict(zip(names, map(_fitted, inputs, wanted), strict=True))
        outputs = [one.name for one in self._session.get_outputs()]
        try:
            found = self._session.run(outputs, given)
        except Exception as error:  # onnxruntime's errors have no other class in common
            raise InputError(f"{', '.join(names)}: {' '.join(str(error).split())}") from error
        return dict(zip(outputs, found, strict=True))

    def answer(self, name: str, given: Sequence[Path], said: Mapping[str, Any], remark: Remark) -> Answer:
        """What ``autoshrink predict`` prints.

        Args:
            name: of the file, as it was given.
            given: what to predict from: ``.npy`` files, one for each input.
            said: what the task's `predict_options` say, by setting.
            remark: called with what a person should know.

        Raises:
            InputError: something is missing, or means nothing here.
            DataError: a file cannot be read.
        """
        del said, remark
        if not given:
            raise InputError(f"{name}: give it samples, one .npy file for each of its inputs")
        outputs = {key: values.tolist() for key, values in self.run(*map(read_array, given)).items()}
        rows = (f"{key}: {row}" for key, values in outputs.items() for row in values)
        return Answer(rows, lambda: {"model": name, "outputs": outputs})


class OnnxClassifier(OnnxModel):
    """An image classifier in an ONNX file that `autoshrink export` wrote. Use `open`.

    Attributes:
        classes: names; an output's index is an index into them.
        preprocessing: from an image file to the network's input.
        facts: of its training: `epoch`, `performance` (validation accuracy), `data` with its `spec`.
    """

    task = "image"
    wants = "; give it images"

    def __init__(self, session: Any, card: Card) -> None:
        assert isinstance(card.interface, ImageInterface), "the task's own"
        super().__init__(session, card)
        self.classes: tuple[str, ...] = card.interface.classes
        self.preprocessing: Preprocessing = card.interface.preprocessing

    def logits(self, images: Floats) -> Floats:
        """Normalised float32 images (n, C, H, W) to logits (n, classes)."""
        (logits,) = self._session.run(["logits"], {"images": images})
        return np.asarray(logits, dtype=np.float32)

    def predict(
        self, images: Iterable[str | os.PathLike[str] | bytes | Pixels], *, top: int = 5
    ) -> Iterator[Prediction]:
        """The likeliest classes of each image, in order.

        Args:
            images: paths, encoded images, or uint8 pixels (c, h, w); read as they are asked for.
            top: how many classes, at most.

        Raises:
            InputError: `top` is below 1, or the network's output for an image is not finite; the message names it.
            DataError: a file cannot be read, or is no image; the message names it.
        """
        if top < 1:
            raise InputError(f"top {top}: at least one class is named")
        waiting = enumerate(images)
        while some := list(islice(waiting, BATCH)):
            named = [(_name(image, number), self._pixels(image, number)) for number, image in some]
            logits = self.logits(self.preprocessing.normalised(np.stack([pixels for _, pixels in named])))
            for (name, _), row in zip(named, logits, strict=True):
                _refuse_infinite(row, name)
                yield Prediction(name, self._ranked(row, top))

    def answer(self, name: str, given: Sequence[Path], said: Mapping[str, Any], remark: Remark) -> Answer:
        """The likeliest classes of files, and of all images in folders; what is none there is remarked upon."""
        if not given:
            raise InputError(f"{name}: holds an image classifier; give it image files, or a folder of them")
        found = self._of_places(given, said.get("top", 5), remark)
        return Answer(map(_line, found), lambda: {"model": name, "predictions": [one.to_json() for one in found]})

    def _of_places(self, places: Sequence[Path], top: int, remark: Remark) -> Iterator[Prediction]:
        for place in places:
            if not place.is_dir():
                yield from self.predict([place], top=top)
                continue
            ignored = Ignored()
            for path in images_in(place, ignored):
                try:
                    yield from self.predict([path], top=top)
                except DataError as error:
                    remark(error)
            for sentence in ignored.notes(place):
                remark(f"{place}: {sentence}")

    def _pixels(self, image: str | os.PathLike[str] | bytes | Pixels, number: int) -> Pixels:
        with reading_images():
            try:
                return self.preprocessing.pixels(_payload(image))
            except CORRUPT as error:
                raise DataError(f"{_name(image, number)}: cannot be read as an image ({reason(error)})") from error

    def _ranked(self, logits: Floats, top: int) -> tuple[tuple[str, float], ...]:
        chances = softmax(logits)
        order = np.argsort(-chances, kind="stable")[:top]
        return tuple((self.classes[index], float(chances[index])) for index in order.tolist())


class OnnxLanguageModel(OnnxModel):
    """A language model in an ONNX file that `autoshrink export` wrote, a step or a loop. Use `open`.

    Attributes:
        vocabulary: its tokens.
        facts: of its training: `epoch`, `performance` (−ln of the validation perplexity), `data` with its `spec`.
    """

    task = "text"
    wants = "; give it a --prompt"

    def __init__(self, session: Any, card: Card) -> None:
        assert isinstance(card.interface, TextInterface), "the task's own"
        super().__init__(session, card)
        self.vocabulary: Vocabulary = card.interface.vocabulary
        shape = next(one.shape for one in session.get_inputs() if one.name == "state")
        self._memory: tuple[int, int] = (shape[0], shape[2])

    def initial_state(self, streams: int = 1) -> Floats:
        """(k, B, n) zeros."""
        layers, width = self._memory
        return np.zeros((layers, streams, width), dtype=np.float32)

    def step(self, tokens: npt.NDArray[np.int64], state: Floats) -> tuple[Floats, Floats]:
        """Tokens (B,) and state (k, B, n) to logits (B, V) and the next state."""
        loop = self.card.part == "loop"
        given = {"tokens": tokens[np.newaxis] if loop else tokens, "state": state}
        logits, following = self._session.run(["logits", "next_state"], given)
        return logits[0] if loop else logits, following

    def answer(self, name: str, given: Sequence[Path], said: Mapping[str, Any], remark: Remark) -> Answer:
        """How it goes on with a prompt."""
        if given:
            raise InputError(f"{name}: holds a language model, which reads no images; give it a --prompt")
        written = self.generate(**said)
        if written.unknown:
            remark(f"the model does not know {', '.join(map(shown, written.unknown))}")
        return Answer((written.text,), lambda: dict(vars(written)) | {"unknown": list(written.unknown)})

    def generate(self, prompt: str = "", **options: Unpack[Draws]) -> Generated:
        """Go on with a prompt; `<unk>` is never written.

        Args:
            prompt: text; cut into tokens as the model's own text was.
            options: ``length``, ``temperature``, ``top_k`` and ``seed``, see `autoshrink.generation.continued`.

        Raises:
            InputError: a number is out of range, or the network's output is not finite.
        """
        return continued(prompt, self.vocabulary, self.step, self.initial_state(), **options)


def open_exported(path: str | os.PathLike[str], *, threads: int = 1, unchecked: bool = False) -> OnnxModel:
    """Whatever network a file that `autoshrink export` wrote holds: an `OnnxClassifier`, an `OnnxLanguageModel`, …

    It is run by so many CPU threads; `unchecked` also where another tool rewrote it, against its checksum.

    Raises:
        InputError: onnxruntime is missing, or the file is missing, no ONNX file, not exported by autoshrink, or not
            what was exported.
    """
    session, card = open_card(named(path), threads=threads, unchecked=unchecked)
    found: OnnxModel | None = task_of(card.architecture).open_exported(session, card)
    return found or OnnxModel(session, card)


def read_array(path: Path) -> npt.NDArray[Any]:
    """The array in a ``.npy`` file.

    Raises:
        DataError: it cannot be read, or is no such file.
    """
    try:
        found: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: no array in a .npy file ({error})") from error
    return found


def _fitted(array: npt.ArrayLike, wanted: Any) -> npt.NDArray[Any]:
    """An array as an input takes it: a sample alone gets its axis, numbers get the input's kind.

    Raises:
        InputError: it cannot be that; the message has both shapes, or both kinds.
    """
    found, shape, kind = np.asarray(array), wanted.shape, KINDS.get(wanted.type, "")
    if found.ndim == len(shape) - 1:
        found = found[np.newaxis]
    known = [size if isinstance(size, int) else None for size in shape]
    if found.ndim != len(shape) or any(size not in (None, own) for size, own in zip(known, found.shape, strict=True)):
        takes = ", ".join("n" if size is None else str(size) for size in known)
        raise InputError(f"{wanted.name}: takes an array of shape ({takes}), and this has {np.shape(array)}")
    if kind and not np.can_cast(found.dtype, kind, casting="same_kind"):
        raise InputError(f"{wanted.name}: takes numbers of kind {kind}, and this array holds {found.dtype}")
    return found.astype(kind) if kind else found


def _line(prediction: Prediction) -> str:
    (name, chance), *others = prediction.ranked
    behind = ", ".join(f"{shown(other)} {formatting.plain(formatting.percent(share))}" for other, share in others)
    said = f"{shown(prediction.source)}: {shown(name)} {formatting.plain(formatting.percent(chance))}"
    return f"{said}   ({behind})" if behind else said


def images_in(folder: Path, ignored: Ignored | None = None) -> list[Path]:
    """The image files in a folder and the folders in it, by their names' endings, sorted; hidden ones are left out.

    What else is passed over is gathered in `ignored`.

    Raises:
        DataError: there are none, or the folder cannot be read.
    """
    passed = Ignored() if ignored is None else ignored
    found = sorted(folder / path for path in files_below(folder, PurePath(), passed))
    if not found:
        raise DataError(
            f"{printable(str(folder))}: no image files in it ({', '.join(sorted(EXTENSIONS))}){passed.instead}"
        )
    return found


def _refuse_infinite(logits: Floats, name: str) -> None:
    if not np.isfinite(logits).all():
        raise InputError(
            f"the model's output for {name} is not finite: its weights are damaged, or its training diverged"
        )


def _payload(image: str | os.PathLike[str] | bytes | Pixels) -> Payload:
    if isinstance(image, str | os.PathLike):
        what = irregular(Path(image))
        if what is not None:
            return OSError(errno.EINVAL, f"it is {what}")
        try:
            return Path(image).read_bytes()
        except OSError as error:
            return error
    return image


def _name(image: object, number: int) -> str:
    return printable(os.fspath(image)) if isinstance(image, str | os.PathLike) else f"image {number}"


__all__: Sequence[str] = (
    "Generated",
    "OnnxClassifier",
    "OnnxLanguageModel",
    "OnnxModel",
    "Prediction",
    "images_in",
    "open_exported",
    "read_array",
    "softmax",
)
