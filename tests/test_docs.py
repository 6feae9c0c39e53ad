"""The documentation: links lead somewhere, commands and settings exist, Python runs, every command is described."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from autoshrink.cli.app import app
from autoshrink.config import resolve
from test_imports import LAYERS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = typer.main.get_command(app)


def lines_of_code(page: Path) -> list[str]:
    """Lines of fenced and indented code, continued lines joined."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:console|bash|sh)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    blocks += re.findall(r"^ {4}(.*)$", text, re.MULTILINE)
    return "\n".join(blocks).replace("\\\n", " ").splitlines()


def commands(page: Path) -> list[list[str]]:
    """Every `autoshrink …` in the page's code and inline code, as arguments."""
    lines = lines_of_code(page) + re.findall(r"`(autoshrink [^`]*)`", page.read_text(encoding="utf-8"))
    found = [re.sub(r"^(\$ )?(\w+=\S+ )*(\.venv/bin/)?", "", line.strip()) for line in lines]
    return [shlex.split(line, comments=True)[1:] for line in found if line.startswith("autoshrink ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) + re.findall(r'(?:src|srcset|href)="([^"#]+)"', text)
    for link in links:
        if not link.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    for arguments in commands(page):
        command = COMMANDS
        rest = list(arguments)
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]  # type: ignore[attr-defined]
        assert command is not COMMANDS or rest[0].startswith(("-", "…")), arguments
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        for argument in rest:
            if argument.startswith("-"):
                assert argument.partition("=")[0] in known | {"--help"}, f"{page.name}: {arguments}"


def test_the_readme_is_read_as_commands() -> None:
    """Guards the two tests above against reading nothing."""
    assert len(commands(ROOT / "README.md")) >= 8


def test_every_command_and_option_is_described() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    groups = COMMANDS.commands | COMMANDS.commands["data"].commands  # type: ignore[attr-defined]
    for name, command in groups.items():
        assert re.search(rf"autoshrink (data )?{name}", text), name
        for parameter in command.params:
            for option in parameter.opts:
                assert not option.startswith("--") or f"`{option}" in text, f"{name} {option}"


UNSAID = ("paired", "reselect")
"""Settings that `--mode` decides."""


def places(settings: dict[str, Any], inside: str = "") -> list[str]:
    """The full names of nested settings."""
    names = []
    for name, value in settings.items():
        names += places(value, f"{inside}{name}.") if isinstance(value, dict) else [f"{inside}{name}"]
    return names


@pytest.mark.parametrize("task", ["image", "text"])
def test_every_setting_is_described(task: str) -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    found = places(resolve({"task": task}).model_dump())
    assert len(found) > 30
    for name in found:
        option = "--" + name.replace("_", "-").rpartition(".")[2]
        known = name.startswith("limits.") or "." not in name
        assert f"`{name}`" in text or (known and (f"`{option}`" in text or name in UNSAID)), name


def test_the_architecture_page_has_every_part_and_every_door() -> None:
    page = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = page.partition("## The parts, from the ground up")[2].partition("\n## ")[0]
    named = re.findall(r"`([\w.]+)`", "".join(re.findall(r"^\|([^|]*)\|", table, re.MULTILINE)))
    assert set(named) == set().union(*LAYERS) - {"__main__"}
    groups = {
        found
        for path in (ROOT / "src").rglob("*.py")
        for found in re.findall(r'Registry\(\s*"(autoshrink\.\w+)"', path.read_text(encoding="utf-8"))
    }
    doors = page.partition("## The doors")[2].partition("\n## ")[0]
    assert len(groups) > 4
    assert groups == set(re.findall(r"`(autoshrink\.(?!testing)\w+)`", doors))


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        used = {line.split()[1] for line in lines_of_code(page) if line.strip().startswith("make ")}
        assert used <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_pages_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOSHRINK_CACHE", str(tmp_path / "cache"))
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        exec(compile(block, str(page), "exec"), {})  # our own pages' examples
