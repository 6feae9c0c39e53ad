"""Files that a person named: which may be read, which may be replaced, and how one is written whole or not at all.

Only ordinary files and new names are replaced. A symbolic link is followed: what it points at is replaced, and the link
stays. Devices, pipes, sockets, folders, write-protected files, and files that have a second name (a hard link, which
replacing would silently separate) are refused, as are their like where something is read.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from autoshrink.errors import InputError, RunError
from autoshrink.escaping import shown

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_KEPT = 40
"""Characters of a file's name that its draft has too; a whole name could leave no room for more."""
_DRAFT, _SCRATCH = ".draft", "autoshrink-"
_OLD = 24 * 3600
"""Seconds after which a draft on Windows is nobody's."""


def named(path: str | os.PathLike[str]) -> Path:
    """A path that somebody gave.

    Raises:
        InputError: it is empty, which the operating system would take for the current folder.
    """
    if isinstance(path, str) and not path.strip():
        raise InputError(f"{path!r} names no file and no folder; the current folder is '.'")
    return Path(path)


def irregular(path: Path) -> str | None:
    """What a path is where it is there and no ordinary file: ``a pipe``, ``a device``; symbolic links are followed."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None
    return next((what for holds, what in _KINDS if holds(mode)), None)


def refuse_irregular(path: Path, *, folders: bool = False) -> None:
    """Refuse to read what is there and is no ordinary file (nor a folder, where `folders` may be read): a pipe would
    wait for ever.

    Raises:
        InputError: it is a pipe, a device, a socket, or a folder where none is wanted; the message names it.
    """
    what = irregular(path)
    if what is not None and not (folders and what == "a folder"):
        raise InputError(f"{shown(path)}: is {what}; give {'a folder or ' if folders else ''}an ordinary file")


def check_output(path: Path) -> Path:
    """The file that is going to be written: `path`, or what it points at. To be asked before any long work.

    Raises:
        RunError: something stands there that is not replaced, or on the way there; the message names it.
    """
    place = _place(path)
    try:
        status = place.stat()
    except FileNotFoundError:
        return place
    except OSError as error:
        raise _refusal(path, _reason(error)) from error
    if status.st_nlink > 1:
        raise _refusal(
            path,
            f"the file has {status.st_nlink} names (hard links), and replacing it would separate them; "
            "remove this name first, or choose another",
        )
    if not os.access(place, os.W_OK):
        raise _refusal(path, "it is write-protected; choose another name")
    return place


def check_folder(folder: Path) -> None:
    """Refuse a folder that can be neither made nor written. To be asked before any long work.

    Raises:
        RunError: something else stands there, or on the way there; the message names it.
    """
    try:
        there = folder.resolve(strict=False)
        while not os.path.lexists(there):
            there = there.parent
        if not there.is_dir():
            raise _refusal(folder, f"{shown(there)} is {irregular(there) or 'a file'}, not a folder")
    except (OSError, RuntimeError, ValueError) as error:
        raise _refusal(folder, _reason(error)) from error
    if not os.access(there, os.W_OK | os.X_OK):
        raise _refusal(folder, f"no permission in {shown(there)}")


@contextmanager
def replacing(path: Path, *, own: bool = False) -> Iterator[Path]:
    """A draft that takes the place of `path` when the block ends well, and is removed when it does not.

    Folders that are missing are made. An earlier file's permissions are kept. Drafts of the same file that killed
    processes left are removed. `own` files, of a folder that autoshrink made, are replaced whatever other names they
    have.

    Raises:
        RunError: it is not to be replaced (`check_output`) or cannot be written; what stood there before is untouched.
    """
    place = _place(path) if own else check_output(path)
    with _drafted(path, place, place.suffix if len(place.suffix) <= 12 else "") as draft:
        yield draft
        _put(draft, place)


def write_text(path: Path, text: str, *, own: bool = False) -> None:
    """Write a text file, UTF-8, whole or not at all; as `replacing`."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"), own=own)


def write_bytes(path: Path, content: bytes, *, own: bool = False) -> None:
    """Write a file whole or not at all; as `replacing`."""
    with replacing(path, own=own) as draft:
        draft.write_bytes(content)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A draft that becomes `folder`, which is new or empty, when the block ends well, and else is removed.

    Raises:
        InputError: it holds something.
        RunError: the folder cannot be written.
    """
    place = check_new_folder(folder)
    with _drafted(folder, place) as draft:
        draft.mkdir()
        yield draft
        if place.exists():
            # It may be where a shell stands, so it is filled and not replaced.
            for file in draft.iterdir():
                file.rename(place / file.name)
        else:
            draft.rename(place)


@contextmanager
def _drafted(path: Path, place: Path, ending: str = "") -> Iterator[Path]:
    """The name of a draft beside a place, in folders that are unmade where nothing comes of it."""
    stem = f".{place.name[:_KEPT]}."
    draft = place.with_name(f"{stem}{os.getpid()}{_DRAFT}{ending}")
    made: list[Path] = []
    try:
        made = [one for one in (place.parent, *place.parent.parents) if not one.exists()]
        place.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(place.parent, stem)
        yield draft
        made = []
    except OSError as error:
        kept = "; what stood there before is still there" if place.is_file() else ""
        raise _refusal(path, _reason(error) + kept) from error
    finally:
        _remove(draft)
        for folder in made:
            with suppress(OSError):
                folder.rmdir()


def check_new_folder(folder: Path) -> Path:
    """The folder that is going to be made, or filled: `folder`, or what it points at. To be asked before any long work.

    Raises:
        InputError: it holds something.
        RunError: it cannot be written.
    """
    check_folder(folder)
    place = folder.resolve()
    if place.is_dir() and any(place.iterdir()):
        raise InputError(f"{shown(folder)}: holds something already; give a new folder, or an empty one")
    return place


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for files that are needed for a moment. What killed processes left in theirs is removed first."""
    _remove_stale(Path(tempfile.gettempdir()), _SCRATCH)
    with tempfile.TemporaryDirectory(prefix=f"{_SCRATCH}{os.getpid()}{_DRAFT}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def remove_drafts(folder: Path) -> None:
    """Remove what processes that were killed in the middle of writing left in a folder of our own."""
    _remove_stale(folder, ".")


def _place(path: Path) -> Path:
    """Where a path leads, through symbolic links, if that is an ordinary file or nothing yet.

    Raises:
        RunError: it is something else.
    """
    try:
        place = path.resolve()
        what = irregular(place)
    except (OSError, RuntimeError, ValueError) as error:
        raise _refusal(path, _reason(error)) from error
    through = f" (it points at {shown(place)})" if path.is_symlink() else ""
    if what is not None:
        raise _refusal(path, f"it is {what}{through}, and only ordinary files are replaced; choose another name")
    if path.is_symlink() and (place.is_symlink() or not place.parent.is_dir()):
        raise _refusal(path, f"it is a link that leads nowhere{through}; choose another name")
    check_folder(place.parent)
    return place


def _put(draft: Path, place: Path) -> None:
    """Bring a draft to the disk, and then into its place, with the owner and permissions of what stood there."""
    with suppress(FileNotFoundError):
        before = place.stat()
        draft.chmod(before.st_mode & 0o777)
        if hasattr(os, "chown"):
            with suppress(OSError):
                os.chown(draft, before.st_uid, before.st_gid)
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    draft.replace(place)


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _remove_stale(folder: Path, stem: str) -> None:
    """Remove drafts whose process is gone; their names are `stem`, its number and the ending of drafts."""
    with suppress(OSError):
        for path in folder.iterdir():
            if not path.name.startswith(stem):
                continue
            before, marked, _ = path.name[len(stem) :].partition(_DRAFT)
            number = before.rpartition(".")[2]
            if marked and number.isascii() and number.isdigit() and not _runs(int(number), path):
                _remove(path)


def _runs(process: int, path: Path) -> bool:
    """Whether a process runs; on Windows, where asking would end it, whether its draft may be someone's at all."""
    if os.name == "nt":
        return path.stat().st_mtime > time.time() - _OLD
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _refusal(path: Path, why: str) -> RunError:
    return RunError(f"{shown(path)}: cannot be written: {why}")


def _reason(error: BaseException) -> str:
    return shown((error.strerror if isinstance(error, OSError) else None) or error, 200)
