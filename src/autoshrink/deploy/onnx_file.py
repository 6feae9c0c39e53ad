"""An ONNX file and what it says of itself: enough to use it with nothing else at hand. Nothing here imports torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from autoshrink.architecture import Architecture
from autoshrink.data import Preprocessing, Vocabulary
from autoshrink.errors import AutoshrinkError, InputError
from autoshrink.onnx.session import checked_content, open_session, refuse_no_file
from autoshrink.untrusted import brief, parse_json
from autoshrink.version import __version__

FORMAT = "autoshrink.onnx/1"

_MARK, _BLANK = b"checksum-sha256:", b"0" * 64
"""Before a file's checksum, and what stands in its place while it is taken."""
_INTERFACES = {
    "network": ({"images"}, {"logits"}),
    "step": ({"tokens", "state"}, {"logits", "next_state"}),
    "loop": ({"tokens", "state"}, {"logits", "next_state"}),
}
"""Names of inputs and outputs by part."""
Task = Literal["image", "text"]
Part = Literal["network", "step", "loop"]


@dataclass(frozen=True)
class Card:
    """What stands in an exported file's metadata (`metadata_props`), each field as JSON under its own name.

    Attributes:
        architecture: what the network is.
        params: its parameters, without BN.
        macs: multiply-accumulates of one image, or of one token.
        facts: of its training: `epoch`, `performance` (validation accuracy, or −ln of the validation perplexity),
            `data` (`spec` at least).
        part: ``network`` for an image classifier; of a language model one ``step``, or a ``loop`` of any length.
        classes: of an image classifier, names by output index.
        preprocessing: of an image classifier, from an image file to the input.
        vocabulary: of a language model.
        quantisation: how it was quantised, or None for float32.
        torch: the version of torch that it was exported with.
        autoshrink: likewise.
    """

    architecture: Architecture
    params: int
    macs: int
    facts: Mapping[str, Any]
    part: Part = "network"
    classes: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    vocabulary: Vocabulary | None = None
    quantisation: Mapping[str, Any] | None = None
    torch: str = ""
    autoshrink: str = field(default=__version__)

    @property
    def task(self) -> Task:
        """``image`` or ``text``."""
        return "image" if self.part == "network" else "text"

    def to_properties(self) -> dict[str, str]:
        """Texts by name, for `metadata_props`."""
        values: dict[str, Any] = {
            "task": self.task,
            "part": self.part,
            "architecture": self.architecture.to_json(),
            "params": self.params,
            "macs": self.macs,
            "facts": dict(self.facts),
            "quantisation": self.quantisation,
            "torch": self.torch,
            "autoshrink": self.autoshrink,
        }
        if self.part == "network":
            values["classes"] = list(self.classes)
        if self.preprocessing:
            values["preprocessing"] = self.preprocessing.to_json()
        if self.vocabulary:
            values["vocabulary"] = self.vocabulary.to_json()
        return {"format": FORMAT} | {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], path: Path) -> Self:
        """What `to_properties` gave.

        Raises:
            InputError: something is missing or damaged; the message names the file and it.
        """
        if properties.get("format") != FORMAT:
            raise InputError(
                f"{path}: an ONNX file, but without autoshrink's metadata (its format is "
                f"{brief(properties.get('format'))}, not {FORMAT!r}), which say what it takes and tells apart; "
                "`autoshrink export` writes such files, `autoshrink latency` measures any"
            )
        try:
            values = {name: parse_json(text) for name, text in properties.items() if name not in ("format", "checksum")}
            return cls._from_values(values)
        except KeyError as error:
            raise InputError(f"{path}: its metadata says nothing of its {error.args[0]}; export it again") from error
        except (ValueError, TypeError, AutoshrinkError) as error:
            raise InputError(f"{path}: its metadata is damaged ({error}); export it again") from error

    @classmethod
    def _from_values(cls, values: Mapping[str, Any]) -> Self:
        image = values["part"] == "network"
        return cls(
            architecture=Architecture.from_json(values["architecture"]),
            params=int(values["params"]),
            macs=int(values["macs"]),
            facts=dict(values["facts"]),
            part=values["part"],
            classes=tuple(map(str, values["classes"])) if image else (),
            preprocessing=Preprocessing.from_json(values["preprocessing"]) if image else None,
            vocabulary=None if image else Vocabulary.from_json(values["vocabulary"]),
            quantisation=values.get("quantisation"),
            torch=str(values.get("torch", "")),
            autoshrink=str(values.get("autoshrink", "")),
        )


def read_card(session: Any, path: Path) -> Card:
    """What an opened file says of itself.

    Raises:
        InputError: nothing, not enough, or something else than the network in it takes and gives.
    """
    card = Card.from_properties(session.get_modelmeta().custom_metadata_map, path)
    _refuse_other_network(card, session, path)
    return card


def open_card(path: Path, *, threads: int = 1, unchecked: bool = False) -> tuple[Any, Card]:
    """A session of a file that `autoshrink export` wrote, and what the file says of itself.

    Args:
        path: the file.
        threads: of the CPU.
        unchecked: also where its content is not what its checksum was taken of: another tool wrote it anew.

    Raises:
        InputError: as `open_session` and `read_card`, or its content is not what was exported.
    """
    if not unchecked and checksum_of(path) is False:
        raise InputError(
            f"{path}: its content is not what was exported (checksum): the file is damaged, or another tool rewrote "
            "it; export it again, or trust it as it is with --unchecked"
        )
    session = open_session(path, threads=threads)
    return session, read_card(session, path)


def checksum_of(path: Path) -> bool | None:
    """Whether a file is, to the bit, what `write_model` wrote with a card; None where it has no checksum.

    Raises:
        InputError: it is no file, or cannot be read.
    """
    refuse_no_file(path)
    try:
        content = path.read_bytes()
    except (OSError, MemoryError) as error:
        raise InputError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'too little memory'})"
        ) from None
    place = content.rfind(_MARK)
    if place < 0:
        return None
    start = place + len(_MARK)
    return content[start : start + len(_BLANK)] == _digest(content, start)


def _digest(content: bytes, start: int) -> bytes:
    """SHA-256 in hexadecimal digits of a file in which those digits, at `start`, are noughts."""
    found = hashlib.sha256(content[:start])
    found.update(_BLANK)
    found.update(memoryview(content)[start + len(_BLANK) :])
    return found.hexdigest().encode()


def _refuse_other_network(card: Card, session: Any, path: Path) -> None:
    """Metadata and network are of one model, or the names that it prints mean nothing."""
    inputs = {one.name: one for one in session.get_inputs()}
    outputs = {one.name: one for one in session.get_outputs()}
    expected = _INTERFACES[card.part]
    if (set(inputs), set(outputs)) != expected:
        found = f"takes {_listed(inputs)} and gives {_listed(outputs)}"
        raise InputError(
            f"{path}: its network {found}, and its metadata tells of one that takes {_listed(expected[0])} and gives "
            f"{_listed(expected[1])}; export it again"
        )
    width = outputs["logits"].shape[-1] if outputs["logits"].shape else None
    if card.vocabulary is not None:
        words = len(card.vocabulary.tokens)
        _refuse_other_count(path, f"{words} words", (words, getattr(card.architecture, "vocabulary", None), width))
    if card.preprocessing is not None:
        names = len(card.classes)
        _refuse_other_count(path, f"{names} class names", (names, getattr(card.architecture, "classes", None), width))
        sides = (card.preprocessing.channels, card.preprocessing.size, card.preprocessing.size)
        images = inputs["images"].shape
        if inputs["images"].type != "tensor(float)" or tuple(images[1:]) != sides:
            wanted, taken = "×".join(map(str, sides)), "×".join(map(str, images[1:]))
            raise InputError(
                f"{path}: its network takes {taken} {inputs['images'].type}, and its metadata's preprocessing makes "
                f"{wanted} tensor(float); export it again"
            )


def _refuse_other_count(path: Path, named: str, counts: tuple[int, int | None, object]) -> None:
    """Refuse where names, architecture and network are not of one number; an open axis of the network says nothing."""
    names, told, width = counts
    if told != names or (isinstance(width, int) and width != names):
        raise InputError(
            f"{path}: its metadata has {named} for an architecture with {told} outputs and a network with {width}; "
            "export it again"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def write_model(model: Any, path: Path, card: Card) -> None:
    """Write an `onnx.ModelProto` as one file, with a card and the checksum of all of it.

    Raises:
        InputError: the model is above ONNX's 2 GiB for one file, or not valid.
    """
    content = checked_content(model, path, card.to_properties() | {"checksum": (_MARK + _BLANK).decode()})
    start = content.rfind(_MARK) + len(_MARK)
    path.write_bytes(content[:start] + _digest(content, start) + content[start + len(_BLANK) :])
