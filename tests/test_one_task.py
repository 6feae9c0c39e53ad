"""A task is one object: nothing else in the package asks which task, architecture or model it has before it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import autoshrink

SOURCE = Path(autoshrink.__file__).parent
INSIDE = {"tasks", "networks", "ops", "architecture", "cost", "spaces", "testing", "registry.py"}
"""Where kinds may be told apart."""
TASKS, KINDS = frozenset({"image", "text"}), frozenset({"conv", "recurrent", "mobile", "lstm", "gru", "mingru"})
CLASSES = frozenset(
    {
        *("ImageArchitecture", "ConvArchitecture", "MobileArchitecture"),
        *("LanguageModel", "RecurrentArchitecture", "LibraryArchitecture"),
        *("ImageSettings", "TextSettings", "ClassifierSettings", "TrainingSettings"),
        *("TrainedClassifier", "TrainedLanguageModel", "OnnxClassifier", "OnnxLanguageModel"),
        *("ImageInterface", "TextInterface", "ImageNetwork", "LanguageNetwork"),
    }
)


def names_in(node: ast.AST) -> set[str]:
    return {
        part.attr if isinstance(part, ast.Attribute) else part.id
        for part in ast.walk(node)
        if isinstance(part, ast.Name | ast.Attribute)
    }


def texts_in(node: ast.AST) -> set[object]:
    return {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def asserted(tree: ast.AST) -> set[ast.AST]:
    """What only tells the type checker, or a reader, what is known anyway."""
    return {inner for node in ast.walk(tree) if isinstance(node, ast.Assert) for inner in ast.walk(node)}


def forks(code: str) -> Iterator[tuple[int, str]]:
    """Lines on which something is decided by a kind or a task, and how."""
    tree = ast.parse(code)
    told = asserted(tree)
    for node in ast.walk(tree):
        if node in told:
            continue
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("isinstance", "issubclass")
        ):
            found = names_in(node.args[1]) & CLASSES
        elif isinstance(node, ast.MatchClass):
            found = names_in(node.cls) & CLASSES
        elif isinstance(node, ast.Compare | ast.MatchValue):
            found = {str(text) for text in texts_in(node) & (TASKS | KINDS)}
        elif isinstance(node, ast.Dict):
            keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
            found = {str(key) for key in keys} if keys >= TASKS or keys >= {"conv", "recurrent"} else set()
        else:
            continue
        if found:
            yield node.lineno, f"{type(node).__name__}: {', '.join(sorted(found))}"


READ = sorted(path for path in SOURCE.rglob("*.py") if path.relative_to(SOURCE).parts[0] not in INSIDE)


@pytest.mark.parametrize("path", READ, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_outside_the_tasks_asks_which_one_it_is(path: Path) -> None:
    found = list(forks(path.read_text(encoding="utf-8")))
    # Columns of parquet files have types, and one of them is text.
    found = [one for one in found if path.parent.name != "data" or "Compare" not in one[1]]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "isinstance(x, ConvArchitecture)",
        "issubclass(type(x), (A, config.TextSettings))",
        "match x:\n    case LanguageModel(width=w): pass",
        "if settings.task == 'text': pass",
        "if cell.kind in ('conv', 'x'): pass",
        "match cell.kind:\n    case 'recurrent': pass",
        "NEXT = {'image': 1, 'text': 2}",
    ],
)
def test_the_law_finds_what_it_is_about(code: str) -> None:
    assert len(list(forks(code))) == 1
    assert (
        list(
            forks(
                code.replace("ConvArch", "Arch")
                .replace("TextSettings", "Any")
                .replace("LanguageModel", "Q")
                .replace("text'", "t'")
                .replace("'conv'", "'c'")
                .replace("'recurrent'", "'r'")
            )
        )
        == []
    )
