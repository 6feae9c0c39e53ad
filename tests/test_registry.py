"""Parts by name: this package's own, those registered by hand, and files that register some."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoshrink.errors import InputError
from autoshrink.registry import Registry, load_plugin, loaded_plugins


def colours() -> Registry[object]:
    return Registry("autoshrink.none", "colour", {"red": "pathlib:Path", "gone": "pathlib:Nothing"})


def test_own_parts_are_imported_when_asked_for() -> None:
    assert colours()["red"] is Path


def test_registered_parts_come_after_the_own_ones() -> None:
    registry = colours()
    registry.register("blue", 1)
    assert list(registry) == ["red", "gone", "blue"]
    assert registry["blue"] == 1
    assert "blue" in registry
    assert "green" not in registry


def test_a_name_is_given_once() -> None:
    registry = colours()
    registry.register("blue", 1)
    registry.register("blue", 2)
    with pytest.raises(InputError, match="'blue': the name is taken"):
        registry.register("blue", "another kind of part")
    with pytest.raises(InputError, match="'red': the name is taken"):
        registry.register("red", 1)


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"colour 'green' is unknown; choose from red, gone, or .*--plugin"):
        colours()["green"]
    with pytest.raises(InputError, match="colour 'gone' of pathlib:Nothing cannot be imported"):
        colours()["gone"]


def test_a_file_is_run_once(tmp_path: Path) -> None:
    file, log = tmp_path / "mine.py", tmp_path / "log"
    file.write_text(f"from pathlib import Path\nwith Path({str(log)!r}).open('a') as log:\n    log.write('run ')\n")
    load_plugin(file)
    load_plugin(file)
    assert log.read_text() == "run "
    assert len(loaded_plugins()[file.resolve()]) == 64


def test_a_file_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--plugin .*absent.py: no such file"):
        load_plugin(tmp_path / "absent.py")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(InputError, match=r"broken.py: ZeroDivisionError: division by zero"):
        load_plugin(tmp_path / "broken.py")


def test_a_part_of_another_shape_is_refused() -> None:
    registry: Registry[object] = Registry("autoshrink.none", "colour", {}, has=("bit_length",))
    registry.register("blue", 1)
    with pytest.raises(InputError, match="colour 'red': what is registered has no `bit_length`"):
        registry.register("red", "a text")
