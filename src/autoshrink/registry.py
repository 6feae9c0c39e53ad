"""Parts by name: those of this package, those of installed packages (entry points), those of a plug-in's file.

A part of this package is named by where it is, ``module:attribute``, and imported when it is first asked for: a table
of parts costs nothing, and lower layers may look up what stands above them.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from autoshrink.errors import InputError
from autoshrink.escaping import shown

if TYPE_CHECKING:
    from autoshrink.evaluation import EvaluatorKind, Executor, Filter, Workplace
    from autoshrink.strategies import Strategy, StrategyContext
    from autoshrink.tasks.base import Task

Part = TypeVar("Part")

BY_PLUGIN = "or name the file that registers it with --plugin"
"""The way out where a part is not known: it may be one that somebody registers."""


def lacks_plugin(error: Exception) -> bool:
    """Whether something could not be read because a part is not known here: then it is neither damaged nor too new."""
    return BY_PLUGIN in str(error)


def near(word: str, names: Iterable[str]) -> str:
    """``; did you mean X?`` for the name most like a word, or nothing where none is."""
    close = difflib.get_close_matches(word, list(names), n=1)
    return f"; did you mean {close[0]}?" if close else ""


class Registry(Generic[Part]):
    """The parts of one kind.

    Args:
        group: of entry points, for example ``autoshrink.ops``.
        what: one of them, in messages: ``operation``.
        own: those of this package, name to ``module:attribute``.
        has: attributes that a part must have.
    """

    def __init__(self, group: str, what: str, own: Mapping[str, str], has: tuple[str, ...] = ()) -> None:
        self.group = group
        self._what = what
        self._has = has
        self._own = dict(own)
        self._parts: dict[str, Part] = {}
        self._files: dict[str, Path] = {}
        _REGISTRIES.append(self)
        self._installed: dict[str, str] | None = None

    def register(self, name: str, part: Part) -> None:
        """Add a part, or put it again in its own place.

        Raises:
            InputError: the name is another part's, or this is no such part.
        """
        for attribute in self._has:
            if not hasattr(part, attribute):
                raise InputError(f"{self._what} {name!r}: what is registered has no `{attribute}`; see docs/plugins.md")
        taken = name in self._own or name in self._found()
        if taken or (name in self._parts and type(self._parts[name]) is not type(part)):
            raise InputError(f"{self._what} {name!r}: the name is taken; choose another")
        self._parts[name] = part
        if _RUNNING:
            self._files[name] = _RUNNING[-1]

    def of_file(self, file: Path) -> Iterator[tuple[str, Part]]:
        """What a plug-in's file registered, or what an installed package has in it: a part's name in words, and it."""
        for name, part in self._parts.items():
            place = self._files.get(name) or (None if name in self._own else _file_of(self._found().get(name)))
            if place == file:
                yield f"{self._what} {name!r}", part

    @property
    def own(self) -> tuple[str, ...]:
        """The names of this package's parts."""
        return tuple(self._own)

    def __contains__(self, name: object) -> bool:
        return name in self._parts or name in self._own or name in self._found()

    def __iter__(self) -> Iterator[str]:
        """The names: this package's in their order, then the others as they came."""
        return iter(dict.fromkeys((*self._own, *self._found(), *self._parts)))

    def __getitem__(self, name: str) -> Part:
        """The part of a name.

        Raises:
            InputError: there is none; the message lists those that there are.
        """
        if name not in self._parts:
            place = self._own.get(name) or self._found().get(name)
            if place is None:
                choices = f"choose from {', '.join(self)}, {BY_PLUGIN}"
                raise InputError(f"{self._what} {shown(repr(name))} is unknown{near(name, self)}; {choices}")
            module, _, attribute = place.partition(":")
            try:
                self._parts[name] = getattr(import_module(module), attribute)
            except (ImportError, AttributeError) as error:
                raise InputError(f"{self._what} {name!r} of {place} cannot be imported: {error}") from error
        return self._parts[name]

    def _found(self) -> dict[str, str]:
        if self._installed is None:
            self._installed = {
                one.name: one.value for one in entry_points(group=self.group) if one.name not in self._own
            }
        return self._installed


_LOADED: dict[Path, str] = {}
_RUNNING: list[Path] = []
"""Plug-in files that are being run."""
_REGISTRIES: list[Registry[Any]] = []
_FRAME = re.compile(r'File "(.+?)", line (\d+), in (\S+)')
"""A line of a traceback as Python prints it: file, line, function."""


def _file_of(place: str | None) -> Path | None:
    """Of ``module:attribute``, the module's file, if it was imported."""
    module = sys.modules.get((place or "").partition(":")[0])
    return Path(module.__file__).resolve() if module is not None and module.__file__ else None


def _frames(error: BaseException) -> list[tuple[Path, str, str]]:
    """File, line and function of every call, the innermost last; those of another process are in the error's notes."""
    here = traceback.extract_tb(error.__traceback__)
    found = [(one.filename, str(one.lineno), one.name) for one in here]
    for note in getattr(error, "__notes__", ()):
        found += _FRAME.findall(note)
    return [(Path(file).resolve(), line, function) for file, line, function in found]


def blamed(error: BaseException) -> str | None:
    """The plug-in in whose code an error arose, or passed through last: ``plug-in strategy 'x' (my.py:12)``.

    None where no plug-in is in it.
    """
    for path, line, function in reversed(_frames(error)):
        parts = [found for registry in _REGISTRIES for found in registry.of_file(path)]
        if parts or path in _LOADED:
            # Of several parts in one file, those that have the function.
            mine = [said for said, part in parts if function in dir(part)] if len(parts) > 1 else []
            what = " or ".join(mine or [said for said, _ in parts])
            return f"plug-in {f'{what} ' if what else ''}({path.name}:{line})"
    return None


def suspected(error: BaseException) -> str | None:
    """Operations of plug-ins, where torch refused what a network computes and no frame tells which module it was."""
    frames = _frames(error)
    if not frames or "/torch/" not in frames[-1][0].as_posix():
        return None
    operations = [registry for registry in _REGISTRIES if registry.group == "autoshrink.ops"]
    named = [f"{said} ({path.name})" for path in _LOADED for one in operations for said, _ in one.of_file(path)]
    return f"a network with a module of plug-in {' or '.join(named)}, perhaps," if named else None


def load_plugin(file: str | Path, said: str = "--plugin") -> None:
    """Run a file of Python that registers parts; a file that was run before is not run again.

    Args:
        file: of which the name ends with ``.py``.
        said: where a person named it, for messages.

    Raises:
        InputError: there is no such file, or running it failed; the message names the file and what was raised.
    """
    path = Path(file).expanduser().resolve()
    if path in _LOADED:
        return
    if not path.is_file():
        raise InputError(f"{said} {shown(file)}: no such file")
    name = f"autoshrink_plugin_{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{said} {shown(file)}: the name of a file of Python ends with .py")
    module = sys.modules[name] = module_from_spec(spec)
    _RUNNING.append(path)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        what = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(f"{said} {shown(file)}: {what}") from error
    finally:
        _RUNNING.pop()
    _LOADED[path] = hashlib.sha256(path.read_bytes()).hexdigest()


def loaded_plugins() -> Mapping[Path, str]:
    """The plug-in files that were run, with the SHA-256 of each: other processes have to run them too."""
    return dict(_LOADED)


TASKS: Registry[Task] = Registry(
    "autoshrink.tasks", "task", {"image": "autoshrink.tasks.image:IMAGE", "text": "autoshrink.tasks.text:TEXT"}
)

STRATEGIES: Registry[Callable[[StrategyContext], Strategy]] = Registry(
    "autoshrink.strategies",
    "strategy",
    {
        "autoshrink": "autoshrink.strategies.autoshrink:shrinking",
        "random": "autoshrink.strategies.random_search:RandomSearch",
        "evolution": "autoshrink.strategies.evolution:Evolution",
        "exchange": "autoshrink.strategies.exchange:Exchange",
        "successive-halving": "autoshrink.strategies.halving_search:HalvingSearch",
        "optuna": "autoshrink.strategies.optuna_search:OptunaSearch",
        "ddpnas": "autoshrink.strategies.ddpnas:DDPNAS",
        "msnas": "autoshrink.strategies.msnas:MetaGraphSearch",
        "oneshot": "autoshrink.strategies.oneshot:OneShot",
        "firefly": "autoshrink.strategies.firefly:Firefly",
    },
)
"""What makes an `autoshrink.strategies.Strategy` of a `StrategyContext`."""

EVALUATORS: Registry[EvaluatorKind] = Registry(
    "autoshrink.evaluators",
    "evaluator",
    {
        "trained": "autoshrink.evaluators:TRAINED",
        "inherited": "autoshrink.evaluators:INHERITED",
        "shared": "autoshrink.evaluators:SHARED",
        "grown": "autoshrink.evaluators:GROWN",
        "zico": "autoshrink.evaluators.zico:ZICO",
    },
    has=("make", "words", "relative"),
)
"""How a step's candidates are measured."""

FILTERS: Registry[Filter] = Registry("autoshrink.filters", "filter", {"zico": "autoshrink.evaluators.zico:FILTER"})
"""The scores by which a step's candidates may be chosen."""

EXECUTORS: Registry[Callable[[Workplace, str], Executor]] = Registry(
    "autoshrink.executors",
    "executor",
    {
        "local": "autoshrink.executors.local:LocalExecutor",
        "processes": "autoshrink.executors.processes:ProcessExecutor",
    },
)
"""Where jobs run: what makes an executor of a `Workplace` and of what stands after the name's colon."""
