"""Who may import whom: imports point one way, and what needs no tensors does not wait for torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import autoshrink

ROOT = Path(autoshrink.__file__).parent

LAYERS = [
    {"errors", "escaping", "quantity", "seeding", "version", "ranking"},
    {"files", "machine", "registry", "formatting"},
    {"untrusted", "optional", "resources"},
    {"steps", "design"},
    {"ops"},
    {"cell"},
    {"priors", "architecture", "change", "tasks"},
    {"commands"},
    {"cost", "budget", "zoo", "score"},
    {"config", "loading", "networks", "spaces"},
    {"events", "evaluation", "steering", "mailbox"},
    {"record", "strategies", "executors", "drawing", "data"},
    {"replaying"},
    {"store", "watching"},
    {"metrics", "classification", "telling"},
    {"findings", "learned", "analysts"},
    {"report", "training", "finals", "obeying"},
    {"results", "run", "progress", "liveness", "notebook", "bundle", "evaluators"},
    {"onnx", "generation", "octaves"},
    {"latency"},
    {"deploy"},
    {"launch", "final", "timm"},
    {"crafting", "evaluating", "comparing", "live"},
    {"tasks.image", "tasks.text", "tasks.arrays"},
    {"cli", "testing"},
    {"__main__"},
]
"""From the ground up: a part imports from lower layers only. The face of the package, `__init__`, stands above all."""

WITH_TORCH = {"networks", "training", "launch", "final", "timm", "__main__"}
WITHOUT_TORCH = set().union(*LAYERS) - WITH_TORCH


def part_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return name_of(list(relative.with_suffix("").parts))


def name_of(parts: list[str]) -> str:
    """A part is a file or folder of the package. Tasks stand above what they are made of, their contract below it."""
    registered = parts[0] == "tasks" and len(parts) > 1 and (ROOT / "tasks" / parts[1]).is_dir()
    return ".".join(parts[: 2 if registered else 1])


def run_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """What runs: all but the imports that are for type checkers alone."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    yield node
    for inner in ast.iter_child_nodes(node):
        yield from run_nodes(inner)


def imported_parts(path: Path) -> set[str]:
    parts = set()
    for node in run_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [
                f"{node.module}.{alias.name}" if node.module == "autoshrink" else node.module for alias in node.names
            ]
        parts |= {name_of(name.split(".")[1:]) for name in names if name.startswith("autoshrink.")}
    return {part for part in parts if (ROOT / part.replace(".", "/")).is_dir() or (ROOT / f"{part}.py").exists()}


SOURCES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def test_every_part_has_its_layer() -> None:
    assert {part_of(path) for path in SOURCES} == set().union(*LAYERS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    part = part_of(path)
    height = next(number for number, layer in enumerate(LAYERS) if part in layer)
    below = set().union(*LAYERS[:height])
    assert imported_parts(path) - {part} <= below


def test_what_needs_no_tensors_does_not_import_torch() -> None:
    """One after another in one process: the first part after which torch is there is the one that brought it."""
    code = f"""
import importlib, sys
for part in {sorted(WITHOUT_TORCH)}:
    importlib.import_module("autoshrink." + part)
    if "torch" in sys.modules:
        sys.exit(part)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_torchvision_is_never_imported() -> None:
    assert not [path for path in SOURCES if "torchvision" in path.read_text(encoding="utf-8")]


def test_everything_public_is_there_and_documented() -> None:
    for name in set(autoshrink.__all__) - {"__version__"}:
        assert getattr(autoshrink, name).__doc__, name
