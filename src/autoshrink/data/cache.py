"""Decoded proxies on disk: one `.npz` file per request, a few newest kept, none of them ever needed."""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import platformdirs

from autoshrink.errors import AutoshrinkError
from autoshrink.files import replacing

Arrays = Mapping[str, npt.NDArray[Any]]

LIMIT = 20
"""Files kept. A proxy of the paper's size (6,000 images of 3×32×32) has 18 MB, so the folder stays below 0.4 GB."""

_DIGEST = "digest"


def default_folder() -> Path:
    """Return the folder named by AUTOSHRINK_CACHE, else the user's cache folder for autoshrink; `images` below it."""
    named = os.environ.get("AUTOSHRINK_CACHE")
    return (Path(named) if named else platformdirs.user_cache_path("autoshrink")) / "images"


def read(folder: Path, key: str) -> dict[str, npt.NDArray[Any]] | None:
    """Return the arrays stored under `key`, or None when there are none or not what was written (then re-make them)."""
    path = _path(folder, key)
    try:
        # Opened here because numpy forgets to close a file that turns out to be no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        if str(arrays.pop(_DIGEST, "")) != _digest(arrays):
            return None
        os.utime(path)  # the newest are kept, and this one is in use
    except (OSError, ValueError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None
    return arrays


def write(folder: Path, key: str, arrays: Arrays) -> str | None:
    """Store the arrays atomically and drop the oldest files beyond `LIMIT`; return why not, where that fails."""
    contents: dict[str, Any] = {**arrays, _DIGEST: np.array(_digest(arrays))}
    try:
        with replacing(_path(folder, key), own=True) as draft, draft.open("wb") as file:
            np.savez(file, **contents)
        _drop_oldest(folder)
    except (OSError, AutoshrinkError) as error:
        return f"decoded images could not be kept in {folder}: {error}"
    return None


def _digest(arrays: Arrays) -> str:
    """Return a sha256 over the names, kinds, shapes and values of all arrays."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {arrays[name].shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _path(folder: Path, key: str) -> Path:
    return folder / f"proxy-{key}.npz"


def _drop_oldest(folder: Path) -> None:
    times: dict[Path, int] = {}
    for path in folder.glob("proxy-*.npz"):
        with suppress(FileNotFoundError):  # another process may drop it at the same moment
            times[path] = path.stat().st_mtime_ns
    for path in sorted(times, key=times.__getitem__, reverse=True)[LIMIT:]:
        path.unlink(missing_ok=True)
