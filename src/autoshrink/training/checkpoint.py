"""Tensors on disk with what they mean beside them: safetensors files, written whole or not at all, never pickle.

The same tensors and facts are the same bytes, and a checksum over both tells damage that safetensors does not see.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor, nn

from autoshrink.architecture import first_problem
from autoshrink.errors import InputError
from autoshrink.escaping import shown
from autoshrink.files import refuse_irregular, write_bytes
from autoshrink.registry import lacks_plugin
from autoshrink.untrusted import brief, inside, parse_json

FORMAT = "autoshrink.checkpoint/1"
CHECKSUM = "sha256"
"""The key of the checksum among the metadata; files without it, of earlier versions, are read unchecked."""
_LENGTH_BYTES = 8
"""At a safetensors file's start: how long its JSON header is, little-endian; the tensors follow the header."""


def packed(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """The content of a file of tensors and facts (JSON values by name)."""
    metadata = {"format": FORMAT} | {name: json.dumps(value) for name, value in facts.items()}
    content = serialise({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata)
    return _sealed(content)


def save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and facts.

    Raises:
        RunError: the file cannot be written; what stood there before is untouched.
    """
    write_bytes(path, packed(tensors, facts), own=True)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, on the CPU, and the facts that `save` wrote.

    Raises:
        InputError: the file is missing, cut short, damaged, or of another format; the message names it.
    """
    refuse_irregular(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: damaged, or not a safetensors file ({error})") from error
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"{path}: not a checkpoint of autoshrink (format {brief(metadata.get('format'))}, not {FORMAT!r})"
        )
    checksum = metadata.pop(CHECKSUM, None)
    with inside(f"{shown(path)}: damaged"):
        if checksum is not None and checksum != _checksum(*_parted(path.read_bytes())):
            raise InputError("its content is not what was written (checksum)")
    facts = {}
    for name, text in metadata.items():
        if name != "format":
            with inside(f"{shown(path)}: damaged: what it says of its {brief(name)}"):
                facts[name] = parse_json(text)
    return tensors, facts


def _parted(packed: bytes) -> tuple[dict[str, Any], memoryview]:
    """Header and tensors of a safetensors file."""
    end = _LENGTH_BYTES + int.from_bytes(packed[:_LENGTH_BYTES], "little")
    return parse_json(packed[_LENGTH_BYTES:end]), memoryview(packed)[end:]


def _sealed(packed: bytes) -> bytes:
    """The same file with a checksum among its metadata, and its header in order: the library writes it in any."""
    header, body = _parted(packed)
    header["__metadata__"][CHECKSUM] = _checksum(header, body)
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)  # the tensors begin at a multiple of eight
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text + body


def _checksum(header: Mapping[str, Any], body: memoryview) -> str:
    """SHA-256 over the header, without the checksum itself, and the tensors."""
    metadata = {name: text for name, text in header["__metadata__"].items() if name != CHECKSUM}
    found = hashlib.sha256(json.dumps({**header, "__metadata__": metadata}, sort_keys=True).encode())
    found.update(body)
    return found.hexdigest()


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Around the reading of a checkpoint's facts: what is missing or out of range is the file's damage, by its name."""
    try:
        yield
    except KeyError as error:
        raise InputError(f"{path}: damaged: it says nothing of its {error.args[0]}") from error
    except InputError as error:
        raise InputError(f"{path}: {'' if lacks_plugin(error) else 'damaged: '}{error}") from error
    except ValidationError as error:
        raise InputError(f"{path}: damaged: {first_problem(error)}") from error


def fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Give a module a checkpoint's tensors.

    Raises:
        InputError: they are not the module's; the message names the file.
    """
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        # After a heading, torch lists every name of each kind in one line.
        reason = " ".join((str(error).splitlines()[1:] or [str(error)])[0].split())
        raise InputError(f"{path}: damaged: its weights do not fit its architecture ({reason[:200]})") from error
