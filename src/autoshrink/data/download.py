"""Downloads of known data sets: resumed where they stopped, checked by sha256, never half there."""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from filelock import FileLock, Timeout

from autoshrink.data.catalogue import KnownData, KnownFile, known_data, own_folder
from autoshrink.data.images import one_line
from autoshrink.errors import DataError
from autoshrink.registry import near

Progress = Callable[[int, int | None], None]
"""Called with (bytes on disk, bytes in all or None if the server does not say) after each block."""

TIMEOUT_SECONDS = 30.0
BACK_OFF_SECONDS = 1.0
ATTEMPTS = 4
_BLOCK_BYTES = 1 << 18

# 408, 429 and 5xx may pass; every other refusal will be repeated as often as we ask.
_PASSING = frozenset((408, 429, 500, 502, 503, 504))


class _TransferError(Exception):
    """The transfer broke off in a way that another attempt may mend."""


def fetch(
    name: str,
    *,
    url: str | None = None,
    sha256: str | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download the known data set `name` into `folder`/`name`; return the file's path, or the folder of several files.

    `folder` is the user's data folder unless given. `url` names a mirror: of the file, or, ending in "/", of the folder
    in which the files stand under the same names. `sha256` is another checksum (hexadecimal) than the one we know, of a
    set that has one file. A file that is there with the right checksum is not downloaded again. What an interrupted
    download has got stays in a `.part` file and is continued by the next call. Raises DataError for an unknown name,
    when the server cannot be reached or refuses, when the disk cannot be written, and when the checksum is wrong.
    """
    known = {data.name: data for data in known_data()}
    if name not in known:
        raise DataError(f"nothing called {name} can be fetched{near(name, known)} (there is: {', '.join(known)})")
    data = known[name]
    if len(data.files) > 1 and sha256 is not None:
        raise DataError(f"{name} has {len(data.files)} files; a checksum can be given for a set of one file")
    target, done = (folder or own_folder()) / name, 0
    rest = sum(file.bytes for file in data.files)
    for file in data.files:
        rest -= file.bytes
        wanted = replace(file, url=_address(file, url, data), sha256=(sha256 or file.sha256).lower())
        _fetched(target / file.name, wanted, _shifted(progress, done, rest))
        done += (target / file.name).stat().st_size
    return target if len(data.files) > 1 else target / data.files[0].name


def _address(file: KnownFile, mirror: str | None, data: KnownData) -> str:
    if mirror is None:
        return file.url
    if urlsplit(mirror).scheme not in {"http", "https"}:
        raise DataError(f"{mirror}: only http and https addresses can be fetched")
    if urlsplit(mirror).path.endswith("/"):
        return urljoin(mirror, file.name)
    if len(data.files) > 1:
        names = ", ".join(one.name for one in data.files)
        raise DataError(f"{mirror}: {data.name} has {len(data.files)} files ({names}); give their folder, ending in /")
    return mirror


def _shifted(progress: Progress | None, before: int, after: int) -> Progress:
    """Return a progress that counts one file's bytes between those of the files before and after it."""
    report = progress or (lambda *_: None)
    return lambda done, total: report(before + done, None if total is None else before + total + after)


def _fetched(target: Path, file: KnownFile, progress: Progress) -> None:
    part = target.with_name(target.name + ".part")
    try:
        if target.exists() and _checksum(target) == file.sha256:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(target.name + ".lock"), timeout=0):
            _download(file.url, part, progress)
            found = _checksum(part)
            if found != file.sha256:
                part.unlink()
                raise DataError(
                    f"{file.url}: wrong checksum, so it was deleted\nexpected sha256 {file.sha256}, got {found}"
                )
            part.replace(target)
    except Timeout as error:
        raise DataError(f"another process is fetching {target}; wait for it to end") from error
    except OSError as error:
        why = one_line(error)
        raise DataError(f"{target}: cannot be written: {why}; free some space or give another folder") from error


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(url: str, part: Path, progress: Progress) -> None:
    for attempt in range(ATTEMPTS):
        try:
            return _transfer(url, part, progress)
        except _TransferError as error:
            reason = one_line(error)
        if attempt + 1 < ATTEMPTS:
            time.sleep(BACK_OFF_SECONDS * 2**attempt)
    raise DataError(f"{url}: {reason} ({ATTEMPTS} attempts); try again, and it goes on where it stopped")


def _transfer(url: str, part: Path, progress: Progress) -> None:
    """Append what is missing to the part, or write it anew where the server cannot continue."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "autoshrink"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - `fetch` admits http and https only
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                return  # nothing is missing; the checksum tells whether what is here is right
            said = f"the server answers {error.code} {error.reason}"
            raise (_TransferError(said) if error.code in _PASSING else DataError(f"{url}: {said}")) from error
    except (OSError, http.client.HTTPException) as error:
        raise _TransferError(f"cannot be reached: {one_line(error)}") from error
    with response:
        have = have if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if have else "wb") as file:
            while block := _block(response):
                file.write(block)
                have += len(block)
                progress(have, total)
    if total is not None and have < total:
        raise _TransferError(f"the connection closed after {have:,} of {total:,} bytes")


def _block(response: Any) -> bytes:
    """Some of the answer; network errors become `_TransferError`, so that an OSError outside is the disk's."""
    try:
        block: bytes = response.read(_BLOCK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _TransferError(f"the connection broke: {one_line(error)}") from error
    return block
