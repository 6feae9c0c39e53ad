"""The libraries onnx and onnxruntime, and ONNX files opened to be run. Nothing here imports torch."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoshrink.errors import InputError
from autoshrink.files import refuse_irregular
from autoshrink.machine import refuse_too_many
from autoshrink.optional import optional
from autoshrink.untrusted import brief

INSTALL = "pip install 'autoshrink[onnx]'"
PROVIDER = "CPUExecutionProvider"
TELEMETRY = "ORT_DISABLE_TELEMETRY"
"""Without it, onnxruntime keeps an identifier of the machine and a database of what it is going to report in the user's
cache folder (1.31 on Linux). Whoever sets it decides."""

KINDS: Mapping[str, str] = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    **{f"tensor({kind})": kind for kind in ("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8")},
    "tensor(bool)": "bool",
}
"""What an input holds as ONNX Runtime says it, and as numpy does."""

_PLACES = re.compile(
    r"\[ONNXRuntimeError\]|: \d+ : [A-Z_]+ :|Load model from .*? failed:?"
    r"|\S+\.(?:cc|h):\d+ (?:[^()]* )?[\w:~]+(?:\([^()]*\)(?: const)?)?(?: \[[^]]*\])?(?:.* was false\.)?"
)
"""What of onnxruntime's words is about itself."""
_REASONS = {
    "Protobuf parsing failed": "not an ONNX file, or cut off or damaged: it cannot be read",
    "opset": "an ONNX file of a version that this onnxruntime does not know",
    "IR version": "an ONNX file of a version that this onnxruntime does not know",
    "No Op registered": "an ONNX file with an operator that this onnxruntime does not have",
    "is not a registered function/op": "an ONNX file with an operator that this onnxruntime does not have",
    "xternal data": "an ONNX file whose weights lie in another file, which cannot be used",
    "bad_alloc": "too little memory to load it",
}
"""What is meant by what onnxruntime says, by a part of that."""


def onnxruntime() -> Any:
    """The module.

    Raises:
        InputError: it is not installed.
    """
    os.environ.setdefault(TELEMETRY, "1")
    with optional("onnxruntime", purpose="running ONNX files", install=INSTALL):
        import onnxruntime as module  # noqa: PLC0415 - an optional package
    return module


def onnx_library(*, exporting: bool = True) -> Any:
    """The module `onnx`, and where torch is to export with it, onnxscript too.

    Raises:
        InputError: one of them is not installed.
    """
    packages = ("onnx", "onnxscript") if exporting else ("onnx",)
    with optional(*packages, purpose="writing ONNX files", install=INSTALL):
        import onnx  # noqa: PLC0415 - an optional package
        import onnx.checker  # noqa: PLC0415

        if exporting:
            import onnxscript  # noqa: F401, PLC0415
    return onnx


def session_options(threads: int, *, spinning: bool = True) -> Any:
    """ONNX Runtime's options: `threads` inside an operator, one operator after another, errors alone logged.

    `spinning` is whether threads that wait keep their core busy.

    Raises:
        InputError: ONNX Runtime is not installed, or the machine has fewer threads, or there is none.
    """
    runtime = onnxruntime()
    if threads < 1:
        raise InputError(f"threads {threads}: at least one works")
    refuse_too_many(threads, "threads")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; its warnings are about the graph, which nobody here can change
    if not spinning:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def open_session(
    model: Path | bytes,
    options: Any = None,
    *,
    threads: int = 1,
    name: object = None,
    disabled: Sequence[str] = (),
) -> Any:
    """An `onnxruntime.InferenceSession` of a file or a serialised model, on the CPU.

    Messages call it by `name`, or its path; `options` are of `session_options`, or those of `threads`; `disabled`
    names optimisations of the runtime to leave out.

    Raises:
        InputError: onnxruntime is missing, there is no such file, or it is no ONNX file.
    """
    runtime = onnxruntime()
    options = options or session_options(threads)
    if isinstance(model, Path):
        refuse_no_file(model)
    source = model if isinstance(model, bytes) else str(model)
    try:
        return runtime.InferenceSession(
            source, options, providers=[PROVIDER], disabled_optimizers=list(disabled) or None
        )
    except Exception as error:  # onnxruntime's errors have no other class in common
        raise InputError(f"{name or model!s}: {_unloadable(error)}") from error


def refuse_no_file(path: Path) -> None:
    """Refuse what is no ordinary file that somebody wrote something into.

    Raises:
        InputError: it is none; the message says what it is instead.
    """
    if path.is_dir():
        raise InputError(f"{path}: a folder; `autoshrink export` makes an ONNX file of a model")
    if not path.exists():
        raise InputError(f"{path}: no such file")
    refuse_irregular(path)
    if path.stat().st_size == 0:
        raise InputError(f"{path}: an empty file, not an ONNX file")


def checked_content(model: Any, path: Path, properties: Mapping[str, str] | None = None) -> bytes:
    """An `onnx.ModelProto` as the content of one file, without what tells of the machine it was made on.

    torch's exporter notes for every node from which line of which file it comes; nobody who gets the file needs it.
    The model is changed; `path` is named in messages, and `properties` go into the metadata.

    Raises:
        InputError: the model is above ONNX's 2 GiB for one file, or not valid.
    """
    onnx = onnx_library()
    _strip(model.graph)
    if properties is not None:
        onnx.helper.set_model_props(model, dict(properties))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InputError(f"{path}: the exported model is not valid ONNX ({error})") from error
    except ValueError as error:  # protobuf's word for a model above 2 GiB
        raise InputError(f"{path}: the model does not fit into one ONNX file ({error})") from error
    content: bytes = model.SerializeToString()
    return content


def _unloadable(error: Exception) -> str:
    """Why onnxruntime does not load a file, in one line without its codes and places in its source."""
    text = " ".join(str(error).split())
    said = brief(_PLACES.sub("", text).strip(" :"), 160).strip("'\"") or "it gives no reason"
    reason = next((meaning for sign, meaning in _REASONS.items() if sign in text), None)
    return f"{reason or 'not an ONNX file that onnxruntime can run'} ({said})"


def _strip(graph: Any) -> None:
    """Remove the notes on a graph's nodes and values, in graphs inside it too."""
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    _strip(inner)
