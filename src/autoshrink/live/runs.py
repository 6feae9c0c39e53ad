"""Which runs a server shows: one, or those of a folder, looked up by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autoshrink.errors import AutoshrinkError, RunError
from autoshrink.escaping import message
from autoshrink.files import named
from autoshrink.live.feed import Feed
from autoshrink.liveness import read_live
from autoshrink.store import FILE_NAME, check_readable, glance, has_run

_Stamp = tuple[int, int, int]


class Runs:
    """One run, or the runs of a folder as they come and go. Feeds are opened when they are asked for, once each.

    Args:
        root: a run, or a folder that holds some, or will.

    Raises:
        RunError: it is no folder, or a run that cannot be read.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = named(root)
        self.several = not has_run(self.root)
        self._feeds: dict[Path, Feed] = {}
        self._known: dict[Path, tuple[_Stamp, dict[str, Any]]] = {}
        if not self.root.is_dir():
            raise RunError(
                f"{self.root}: no such folder; give a run, or a folder of runs (`autoshrink search --run` makes one)"
            )
        if not self.several:
            check_readable(self.root)

    @property
    def watched(self) -> int:
        """Streams that are open."""
        return sum(feed.watched for feed in self._feeds.values())

    def folder(self, name: str | None) -> Path | None:
        """The folder of a run by its name, among those that are there; without a name that of the only one.

        A name is compared with what the folder holds and never made a path of.
        """
        if name is None:
            return None if self.several else self.root
        return next((path for path in self._folders() if path.name == name), None) if self.several else None

    def _folders(self) -> Iterator[Path]:
        try:
            found = sorted(one.name for one in os.scandir(self.root) if one.is_dir())
        except OSError:
            return
        for name in found:
            if has_run(self.root / name):
                yield self.root / name

    async def feed(self, folder: Path) -> Feed:
        """The feed of a run.

        Raises:
            RunError: the run is gone or damaged.
            InputError: its log cannot be understood.
        """
        for path in [path for path, one in self._feeds.items() if one.over]:
            del self._feeds[path]
        feed = self._feeds.setdefault(folder, Feed(folder))
        try:
            await feed.begin()
        except AutoshrinkError:
            self._feeds.pop(folder, None)
            feed.close()
            raise
        return feed

    def close(self) -> None:
        """Let go of every run."""
        for feed in self._feeds.values():
            feed.close()

    def listed(self) -> list[dict[str, Any]]:
        """What the list says of each run, by name; of one that cannot be read why. Nothing between a log's ends is
        read for it.
        """
        return [self._listed(path) for path in self._folders()]

    def _listed(self, folder: Path) -> dict[str, Any]:
        try:
            found = (folder / FILE_NAME).stat()
            stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
            known = self._known.get(folder)
            if known is None or known[0] != stamp:
                known = self._known[folder] = (stamp, _ends(folder))
            value = known[1]
        except (AutoshrinkError, OSError) as error:
            return {"name": folder.name, "status": "unreadable", "error": message(error)}
        status = "finished" if value["last"] == "finished" else "stopped" if read_live(folder) is None else "running"
        return value | {"name": folder.name, "status": status}


def _ends(folder: Path) -> dict[str, Any]:
    ends = glance(folder)
    settings = ends.created.body["settings"]
    data = settings.get("data")
    return {
        "task": settings.get("task"),
        "strategy": settings.get("strategy"),
        "data": data.get("spec") if isinstance(data, dict) else None,
        "created_at": ends.created.at,
        "updated_at": ends.last.at,
        "last": ends.last.kind,
        "sequence": ends.last.number,
    }
