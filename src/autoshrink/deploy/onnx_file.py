"""An ONNX file and what it says of itself: enough to use it with nothing else at hand. Nothing here imports torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from autoshrink.architecture import Architecture
from autoshrink.data import Preprocessing, Vocabulary
from autoshrink.errors import AutoshrinkError, InputError
from autoshrink.files import refuse_irregular
from autoshrink.machine import refuse_too_many
from autoshrink.untrusted import brief, parse_json
from autoshrink.version import __version__

FORMAT = "autoshrink.onnx/1"
INSTALL = "pip install 'autoshrink[onnx]'"

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
                f"{brief(properties.get('format'))}, not {FORMAT!r}); `autoshrink export` writes such files"
            )
        try:
            values = {name: parse_json(text) for name, text in properties.items() if name != "format"}
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


def open_session(path: Path, *, threads: int = 1) -> Any:
    """An `onnxruntime.InferenceSession` of a file, on the CPU.

    Raises:
        InputError: onnxruntime is missing, there is no such file, or it is no ONNX file.
    """
    runtime = onnxruntime()
    if threads < 1:
        raise InputError(f"threads {threads}: at least one works")
    refuse_too_many(threads, "threads")
    if not path.is_file():
        refuse_irregular(path, folders=True)
        what = "a folder; `autoshrink export` makes an ONNX file of a model" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {what}")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; its warnings are about the graph, which nobody here can change
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no other class in common
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not an ONNX file that onnxruntime can run ({reason[:200]})") from error


def read_card(session: Any, path: Path) -> Card:
    """What an opened file says of itself.

    Raises:
        InputError: nothing, or not enough.
    """
    return Card.from_properties(session.get_modelmeta().custom_metadata_map, path)


def write_model(model: Any, path: Path, card: Card | None = None) -> None:
    """Write an `onnx.ModelProto` as one file, with a card, without what tells of the machine it was made on.

    torch's exporter notes for every node from which line of which file it comes; nobody who gets the file needs it.

    Raises:
        InputError: the model is above ONNX's 2 GiB for one file, or not valid.
    """
    onnx = onnx_library()
    strip(model.graph)
    if card is not None:
        onnx.helper.set_model_props(model, card.to_properties())
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InputError(f"{path}: the exported model is not valid ONNX ({error})") from error
    except ValueError as error:  # protobuf's word for a model above 2 GiB
        raise InputError(f"{path}: the model does not fit into one ONNX file ({error})") from error
    path.write_bytes(model.SerializeToString())


def strip(graph: Any) -> None:
    """Remove the notes on a graph's nodes and values, in graphs inside it too."""
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    strip(inner)


def onnxruntime() -> Any:
    """The module.

    Raises:
        InputError: it is not installed.
    """
    try:
        import onnxruntime as module  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise InputError(f"ONNX files are run by onnxruntime, which is not installed: {INSTALL}") from error
    return module


def onnx_library() -> Any:
    """The module `onnx`.

    Raises:
        InputError: it, or onnxscript, with which torch exports, is not installed.
    """
    try:
        import onnx  # noqa: PLC0415 - an optional package
        import onnx.checker  # noqa: PLC0415
        import onnxscript  # noqa: F401, PLC0415
    except ImportError as error:
        raise InputError(f"writing ONNX files needs onnx and onnxscript, which are not installed: {INSTALL}") from error
    return onnx
