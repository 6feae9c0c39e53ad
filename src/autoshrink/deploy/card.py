"""What an exported ONNX file says of itself: enough to use it with nothing else at hand. Nothing here imports torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from autoshrink.architecture import Architecture
from autoshrink.bundle import Facts, Interface, TrainedModel
from autoshrink.cost import count
from autoshrink.errors import AutoshrinkError, InputError
from autoshrink.onnx.session import checked_content, open_session, refuse_no_file
from autoshrink.registry import lacks_plugin
from autoshrink.tasks import task_of
from autoshrink.untrusted import brief, parse_json
from autoshrink.version import __version__

FORMAT = "autoshrink.onnx/1"

_MARK, _BLANK = b"checksum-sha256:", b"0" * 64
"""Before a file's checksum, and what stands in its place while it is taken."""


@dataclass(frozen=True)
class Card:
    """What stands in an exported file's metadata (`metadata_props`), each field as JSON under its own name.

    Attributes:
        architecture: what the network is.
        params: its parameters, without BN.
        macs: multiply-accumulates of one image, or of one token.
        facts: of its training.
        interface: what goes in and what comes out, as in the trained model's file.
        part: ``network``; of a language model one ``step``, or a ``loop`` of any length.
        quantisation: how it was quantised, or None for float32.
        torch: the version of torch that it was exported with.
        autoshrink: likewise.
    """

    architecture: Architecture
    params: int
    macs: int
    facts: Facts
    interface: Interface
    part: str = "network"
    quantisation: Mapping[str, Any] | None = None
    torch: str = ""
    autoshrink: str = field(default=__version__)

    @classmethod
    def of(cls, model: TrainedModel, part: str = "network") -> Self:
        """Of a trained model, or a part of it."""
        import torch  # noqa: PLC0415 - a trained model has brought it; files are read without

        cost = count(model.architecture)
        return cls(
            model.architecture, cost.params, cost.macs, model.facts, model.interface, part, torch=torch.__version__
        )

    @property
    def task(self) -> str:
        """The task's name: ``image``, ``text`` or a registered one."""
        return task_of(self.architecture).name

    def to_json(self) -> dict[str, Any]:
        """Values by name; the interface's are among them."""
        return {
            "task": self.task,
            "part": self.part,
            "architecture": self.architecture.to_json(),
            "params": self.params,
            "macs": self.macs,
            "facts": self.facts.to_json(),
            "quantisation": self.quantisation,
            "torch": self.torch,
            "autoshrink": self.autoshrink,
            **self.interface.to_json(),
        }

    def to_properties(self) -> dict[str, str]:
        """Texts by name, for `metadata_props`."""
        return {"format": FORMAT} | {
            name: json.dumps(value, ensure_ascii=False) for name, value in self.to_json().items()
        }

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
            architecture = Architecture.from_json(values["architecture"])
            return cls(
                architecture=architecture,
                params=int(values["params"]),
                macs=int(values["macs"]),
                facts=Facts.model_validate(values["facts"]),
                interface=task_of(architecture).trained.interface_type.from_json(values, architecture),
                part=str(values["part"]),
                quantisation=values.get("quantisation"),
                torch=str(values.get("torch", "")),
                autoshrink=str(values.get("autoshrink", "")),
            )
        except KeyError as error:
            raise InputError(f"{path}: its metadata says nothing of its {error.args[0]}; export it again") from error
        except (ValueError, TypeError, AutoshrinkError) as error:
            if lacks_plugin(error):
                raise InputError(f"{path}: {error}") from error
            raise InputError(f"{path}: its metadata is damaged ({error}); export it again") from error


def read_card(session: Any, path: Path) -> Card:
    """What an opened file says of itself.

    Raises:
        InputError: nothing, not enough, or something else than the network in it takes and gives.
    """
    from autoshrink.deploy.exporter import exporter_of  # noqa: PLC0415 - which writes cards

    card = Card.from_properties(session.get_modelmeta().custom_metadata_map, path)
    exporter_of(card.architecture).verify(card, session, path)
    return card


def open_card(path: Path, *, threads: int = 1, unchecked: bool = False) -> tuple[Any, Card]:
    """A session of a file that `autoshrink export` wrote, run by so many CPU threads, and what the file says of itself.

    `unchecked` is for files that another tool wrote anew: their content is not what the checksum was taken of.

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
    """Whether a file is, to the bit, what `write_model` wrote; None where it has no checksum.

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


def write_model(model: Any, path: Path, card: Card) -> None:
    """Write an `onnx.ModelProto` as one file, with a card and the checksum of all of it.

    Raises:
        InputError: the model is above ONNX's 2 GiB for one file, or not valid.
    """
    content = checked_content(model, path, card.to_properties() | {"checksum": (_MARK + _BLANK).decode()})
    start = content.rfind(_MARK) + len(_MARK)
    path.write_bytes(content[:start] + _digest(content, start) + content[start + len(_BLANK) :])


def _digest(content: bytes, start: int) -> bytes:
    """SHA-256 in hexadecimal digits of a file in which those digits, at `start`, are noughts."""
    found = hashlib.sha256(content[:start])
    found.update(_BLANK)
    found.update(memoryview(content)[start + len(_BLANK) :])
    return found.hexdigest().encode()
