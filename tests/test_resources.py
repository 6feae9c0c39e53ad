"""Resources are a table, and one that is registered from outside goes everywhere that the package's own go."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from autoshrink.architecture import proxy_architecture
from autoshrink.cell import Cell
from autoshrink.cli import run
from autoshrink.config import resolve
from autoshrink.cost import count
from autoshrink.errors import InputError
from autoshrink.resources import COUNT, RESOURCES, Resource, Resources, every_resource

PLUGIN = Path(__file__).parent / "plugins" / "flash.py"
CELL = Cell("conv", ("input", "sepconv3x3", "conv1x1"), ((0, 1), (0, 2), (1, 2)))


def autoshrink(*arguments: object, plugin: bool = True) -> subprocess.CompletedProcess[str]:
    """A command, with the plug-in here, or without it in a process that does not know it."""
    command = list(map(str, arguments))
    if not plugin:
        apart = [sys.executable, "-m", "autoshrink", *command]
        return subprocess.run(apart, check=False, capture_output=True, text=True)
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        status = run([*command, "--plugin", str(PLUGIN)])
    return subprocess.CompletedProcess(command, status, output.getvalue(), errors.getvalue())


def test_a_resource_from_outside_goes_all_the_way(tmp_path: Path) -> None:
    helped = autoshrink("search", "--help").stdout
    assert "--max-flash" in helped
    assert "flash." in helped.partition("--resource")[2].partition("--max-macs")[0]

    options = ("--nodes", 3, "--epochs", 4, "--train-per-class", 40, "--repeats", 1, "--beside", "none")
    place = tmp_path / "run"
    found = autoshrink("search", *options, "--resource", "flash", "--max-flash", "64KiB", "--run", place, "--json")
    assert found.returncode == 0, found.stderr
    value = json.loads(found.stdout)
    assert value["settings"]["resource"] == "flash"
    assert value["settings"]["limits"]["max_flash"] == 64 * 1024
    for figures in (value["best"], value["complete"], *json.loads((place / "front.json").read_text())):
        assert figures["flash_bytes"] == figures["params"] > 0

    shown = autoshrink("show", place)
    assert "flash" in shown.stdout, "a column of the table"
    assert f"{value['best']['flash_bytes'] / 1024:,.1f} KiB" in shown.stdout
    page = (place / "report.html").read_text()
    assert "flash, KiB" in page, "an axis"
    assert "flash at most 64.0\N{NARROW NO-BREAK SPACE}KiB" in page

    refused = autoshrink("search", *options, "--max-flash", "64B", "--run", tmp_path / "other")
    assert refused.returncode == 2
    assert "--max-flash 64B: even the smallest cell costs" in refused.stderr

    failed = autoshrink("show", place, plugin=False)
    assert failed.returncode == 2
    assert "or 'latency', or name the file that registers it with --plugin (got 'flash')" in failed.stderr
    assert "another version" not in failed.stderr


def test_a_resource_that_nobody_limits_leaves_a_run_that_anybody_reads(tmp_path: Path) -> None:
    place = tmp_path / "run"
    options = ("--nodes", 2, "--epochs", 1, "--train-per-class", 20, "--repeats", 0, "--run", place)
    found = autoshrink("search", *options)
    assert found.returncode in (0, 2), "a training of a blink may be no better than chance"
    assert "flash" not in json.loads(autoshrink("show", place, "--json").stdout)["settings"]["limits"]
    assert autoshrink("show", place, plugin=False).returncode == 0


@pytest.mark.parametrize("resource", list(every_resource()), ids=lambda one: one.name)
def test_every_resource_is_counted_or_measured(resource: Resource) -> None:
    architecture = proxy_architecture(CELL, shape=(3, 32, 32), classes=10)
    found = Resources.of(architecture, count(architecture), latency=7)
    assert found[resource.name] > 0
    assert Resources(**found.to_json()) == found
    assert resource.json(found[resource.name])
    assert resource.json(0) is None
    assert RESOURCES[resource.name] is resource
    if resource.limit:
        limits = resolve({"limits": {f"max_{resource.name}": found[resource.name]}}).limits
        assert limits.broken_by(found) is None
        more = Resources(**found.to_json() | {resource.name: found[resource.name] + 1})
        assert limits.broken_by(more) == resource.name


def test_what_is_counted_alone_has_them_too() -> None:
    said, value = (
        autoshrink("cost", "shrinkcnn-a").stdout,
        json.loads(autoshrink("cost", "shrinkcnn-a", "--json").stdout),
    )
    assert "\nflash 3,600,981 bytes\n" in said
    assert value["flash_bytes"] == value["params"] == 3_600_981
    crafted = json.loads(autoshrink("craft", "shrinkcnn-a", "--macs", "100M", "--json").stdout)
    assert crafted["flash_bytes"] == crafted["params"]


def test_what_is_no_resource_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"setting limits\.max_luck: there is no such setting"):
        resolve({"limits": {"max_luck": 3}})
    half = Resource("half", "half", COUNT, "half", lambda _, cost: cost.macs / 2)  # type: ignore[arg-type, return-value]
    monkeypatch.setattr("autoshrink.resources.every_resource", lambda: [half])
    architecture = proxy_architecture(CELL, shape=(3, 32, 32), classes=10)
    with pytest.raises(InputError, match=r"^resource 'half': its count gave [\d.]+, which is no whole number"):
        Resources.of(architecture, count(architecture))
