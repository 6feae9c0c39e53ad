"""Code of a plug-in that raises is named by part, file and line, wherever it ran; what is ours keeps its traceback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from autoshrink.cli import run
from autoshrink.errors import InputError
from autoshrink.registry import Registry, blamed, load_plugin, near

STRATEGY = """
from autoshrink.registry import EVALUATORS, STRATEGIES
from autoshrink.evaluation import EvaluatorKind
from autoshrink.strategies import Strategy


class Broken(Strategy):
    def __init__(self, context):
        del context

    def ask(self):
        return 1 / 0

    def tell(self, evaluations):
        return None

    def over(self):
        return ""

    def outlook(self):
        return ()


def make(context):
    raise KeyError("no such board")


STRATEGIES.register("broken", Broken)
EVALUATORS.register("boards", EvaluatorKind(make))
"""
OPERATION = """
from torch import nn
from autoshrink.ops import ConvOperation, register
from autoshrink.steps import Step, convolution


class Module(nn.Module):
    def __init__(self, reads, writes):
        super().__init__()
        self.layer = nn.Conv2d(reads, writes, 1)

    def forward(self, x):
        return self.layer(x).view(3, 3)


class Operation(ConvOperation):
    def module(self, node, activation):
        sizes = node.in_channels, node.out_channels
        return Module(*sizes) if self.name == "shaped" else nn.Conv2d(sizes[0] + 1, sizes[1], 1)

    def steps(self, node, name, source, size):
        reads, writes = node.in_channels, node.out_channels
        yield Step((source,), name, writes * size[0] * size[1], convolution(name, "x", (reads, writes), size, reads))


register(Operation("shaped"))
register(Operation("counted"))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "parts.py").write_text(STRATEGY)
    (folder / "ops.py").write_text(OPERATION)
    return folder


def searched(files: Path, plugin: str, *options: str) -> int:
    name = "-".join(options)
    return run(["search", "--plugin", str(files / plugin), "--nodes", "3", "--run", f"run-{name}", *options])


@pytest.mark.parametrize(
    ("plugin", "options", "said"),
    [
        (
            "parts.py",
            ["--strategy", "broken"],
            "plug-in strategy 'broken' (parts.py:12) failed: ZeroDivisionError",
        ),
        ("parts.py", ["--evaluator", "boards"], "plug-in evaluator 'boards' (parts.py:25) failed: KeyError: 'no such"),
        ("ops.py", ["--ops", "shaped"], "plug-in operation 'conv.shaped' or operation 'conv.counted' (ops.py:13) fai"),
        (
            "ops.py",
            ["--ops", "counted", "--executor", "processes:1"],
            "a network with a module of plug-in operation 'conv.shaped' (ops.py) or operation 'conv.counted' (ops.py)",
        ),
    ],
)
def test_a_plugin_that_fails_is_named(  # noqa: PLR0917 - two cases and three fixtures
    files: Path,
    plugin: str,
    options: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert searched(files, plugin, *options) == 2
    told = capfd.readouterr().err
    assert f"autoshrink: {said}" in told
    assert told.endswith("  AUTOSHRINK_TRACEBACK=1 in the environment shows the traceback\n")
    assert "Traceback" not in told


def test_its_traceback_is_to_be_had(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOSHRINK_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        searched(files, "parts.py", "--strategy", "broken")


def test_of_several_parts_in_a_file_the_one_with_the_function_is_named(tmp_path: Path) -> None:
    registry: Registry[object] = Registry("autoshrink.none", "colour", {})
    sys.modules["colours_of_the_test"] = type(sys)("colours_of_the_test")
    sys.modules["colours_of_the_test"].registry = registry  # type: ignore[attr-defined]
    file = tmp_path / "colours.py"
    file.write_text(
        "from colours_of_the_test import registry\n"
        "class Red:\n    def mix(self): raise ValueError('no')\n"
        "class Blue:\n    def stir(self): raise ValueError('no')\n"
        "registry.register('red', Red())\nregistry.register('blue', Blue())\n"
    )
    load_plugin(file)
    with pytest.raises(ValueError, match="no") as caught:
        registry["blue"].stir()  # type: ignore[attr-defined]
    assert blamed(caught.value) == "plug-in colour 'blue' (colours.py:5)"
    with pytest.raises(ZeroDivisionError) as ours:
        _ = 1 / 0
    assert blamed(ours.value) is None


def test_the_nearest_name_is_offered() -> None:
    assert near("inherit", ["trained", "inherited"]) == "; did you mean inherited?"
    assert near("qqq", ["trained", "inherited"]) == ""
    registry: Registry[object] = Registry("autoshrink.none", "colour", {"crimson": "pathlib:Path"})
    with pytest.raises(InputError, match=r"colour 'crimsn' is unknown; did you mean crimson\?; choose from crimson"):
        registry["crimsn"]
