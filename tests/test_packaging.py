"""What packages, environments and checks say of this project, held against one another."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from autoshrink.version import __version__

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAPER: dict[str, Any] = tomllib.loads((ROOT / "paper" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
NAMES = {"PIL": "pillow", "sklearn": "scikit-learn", "litert_torch": "litert-torch", "pillow_heif": "pillow-heif"}
"""Distributions whose module is called otherwise."""
BROUGHT = {"ai_edge_litert", "ml_dtypes", "onnx_ir", "pydantic_core", "markupsafe", "anyio"}
"""Modules that a declared dependency always brings, and that are used where that one is."""


def pins(file: str) -> dict[str, str]:
    """A file of constraints: versions by normalised name."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return {_normal(name): version for name, _, version in (line.partition("==") for line in lines if "==" in line)}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _name(requirement: str) -> str:
    return _normal(re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0])


def declared(*extras: str) -> list[str]:
    """The requirements of the package, and of some extras."""
    return [*PROJECT["dependencies"], *(one for extra in extras for one in EXTRAS[extra])]


@pytest.mark.parametrize("requirement", declared("data", "onnx", "train"))
def test_the_lowest_versions_are_those_that_are_tested(requirement: str) -> None:
    name, _, floor = requirement.partition(">=")
    assert floor, f"{requirement} has no lowest version"
    found = pins("constraints-lowest.txt")[_normal(name)]
    assert _numbers(found) == _numbers(floor)
    assert _numbers(pins("constraints.txt")[_normal(name)]) >= _numbers(floor)


def _numbers(version: str) -> tuple[int, ...]:
    """Without zeros at the end: 2.8 is 2.8.0."""
    numbers = [int(part) for part in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def test_tools_of_the_tests_are_pinned_alike() -> None:
    newest, lowest = pins("constraints.txt"), pins("constraints-lowest.txt")
    for tool in ("pytest", "hypothesis", "pytest-timeout", "pytest-xdist"):
        assert newest[tool] == lowest[tool]


def imported() -> set[str]:
    """The distributions whose modules src/ imports."""
    names = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(str(node.module).partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"autoshrink", "autoshrink_paper"} - BROUGHT


def test_what_is_imported_is_declared_and_the_other_way_round() -> None:
    found = {_normal(NAMES.get(name, name)) for name in imported()}
    extras = [extra for extra in EXTRAS if extra not in ("bench", "dev", "docs")]
    assert found <= {_name(one) for one in declared(*extras)}
    assert {_name(one) for one in declared()} <= found


def test_one_version_everywhere() -> None:
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert PAPER["version"] == __version__
    assert f"autoshrink>={__version__.rpartition('.')[0]}" in PAPER["dependencies"]


def test_a_commit_is_checked_as_ci_checks() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    checks = re.search(r"^check:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert checks is not None
    ours = [line.strip().replace("$(BIN)", ".venv/bin").replace(" $(CODE)", "") for line in checks[1].splitlines()]
    hooks = re.findall(r"entry: (\.venv.*)", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert hooks == ours
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    targets = set(re.findall(r"run: make ([\w-]+)", workflow))
    assert targets == {"test", "test-lowest", "release-check", "docs"}
    assert targets <= set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
