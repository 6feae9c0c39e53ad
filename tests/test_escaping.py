"""Text from outside: nothing of it is obeyed, hidden, or taken for ours, on whatever stream it is shown."""

from __future__ import annotations

import html
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from autoshrink import escaping
from autoshrink.cli import run
from autoshrink.cli.console import Terminal
from autoshrink.drawing.markup import tag

HOSTILE = "a\x1b[31m\nb\r\t\x00\x9b\u202e\u2066\u200b\ufeff\udcff"


def test_what_is_not_seen_is_written_out() -> None:
    assert escaping.shown(HOSTILE) == r"a\x1b[31m\nb\r\t\x00\x9b\u202e\u2066\u200b\ufeff\udcff"
    assert escaping.shown("a\u200db") == r"a\u200db"
    for kept in ("naïve café", "猫", "می\u200cخواهم", "👩\u200d🔬", "26.1\u202f%", "C:\\new"):
        assert escaping.shown(kept) == kept
    assert escaping.shown("9" * 400, 60) == f"{'9' * 40}…{'9' * 20} (400 characters)"


def test_no_value_begins_a_line_of_a_message() -> None:
    text = escaping.message(f"gone\nnote: forged: {'7' * 5000}")
    assert text.splitlines()[1].startswith("  note: forged: 777")
    assert len(text) < 400
    assert len(escaping.message("\n".join("x" * 99)).splitlines()) == escaping.MOST_LINES


def test_words_of_a_shell_come_back(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    for name in ("plain", "two words", "it's", "a\nb\x1b[2J'\\", os.fsdecode(b"\xff\n")):
        line = escaping.word(name)
        assert line.isprintable()
        found = subprocess.run([bash, "-c", f"printf %s {line}"], capture_output=True, check=True)
        assert found.stdout == os.fsencode(name)


def test_markup_and_code_cannot_be_left() -> None:
    name = "a`<img src=x>`b\x1b\x00"
    assert escaping.escape(name) == r"a`&lt;img src=x&gt;`b\x1b\x00"
    assert not re.search("[`<>]", re.sub("</?code>", "", escaping.code(name)))
    assert html.unescape(escaping.code(name)) == r"<code>a`<img src=x>`b\x1b\x00</code>"
    assert escaping.code("cat") == "`cat`"
    assert "\x00" not in tag("text", title="a\x00")


def test_a_terminal_obeys_nothing_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    console = Terminal(markup=False, emoji=False)
    table = Table("[red]:smile:\x1b[2J")
    table.add_row("x\x9b")
    console.print(table)
    console.print("two\nlines\x1b]0;title\x07")
    shown = capsys.readouterr().out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown)
    assert "[red]:smile:" in shown
    assert "two\nlines\\x1b]0;title" in shown


def test_an_error_echoes_no_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    name = "gone\x1b[31m\nautoshrink: all is well" + "x" * 400
    for arguments in (["show", name], ["craft", name], ["search", "--nodes", name], [name], ["report", name]):
        assert run(arguments) == 2
        shown = capsys.readouterr().err
        assert "\x1b" not in shown
        assert not re.search("^autoshrink: all is well", shown, re.MULTILINE)
        assert len(shown) < 900


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "autoshrink", *arguments],
        capture_output=True,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_every_encoding_is_written(encoding: str, tmp_path: Path) -> None:
    found = command(
        "craft", "shrinkcnn-a", "--input", "3x16x16", "--classes", "3", "--macs", "150k", PYTHONIOENCODING=encoding
    )
    assert (found.returncode, found.stderr) == (0, b"")
    assert found.stdout.decode(encoding).startswith("3x16x16" if encoding == "ascii" else "3×16×16")
    found = command("show", "猫≥−", PYTHONIOENCODING=encoding)
    assert found.returncode == 2
    assert rb"\u732b>=-: " in found.stderr


def test_a_full_disk_behind_standard_output_is_said() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("wb") as full:
        found = subprocess.run(
            [sys.executable, "-m", "autoshrink", "zoo", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert found.returncode == 2
    assert re.fullmatch("autoshrink: .*cannot be written: No space left on device\n", found.stderr), found.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "autoshrink", "zoo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait() == 0
    process.stderr.close()


def test_little_address_space_is_named() -> None:
    resource = pytest.importorskip("resource")
    limit = 700_000 * 1024
    found = subprocess.run(
        [sys.executable, "-m", "autoshrink", "search", "--data", "digits", "--run", "/nonexistent/run"],
        capture_output=True,
        text=True,
        timeout=100,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        check=False,
    )
    assert found.returncode == 2
    assert "autoshrink: not enough memory (this process may use 683 MiB of address space" in found.stderr
    assert "Traceback" not in found.stderr


INTERRUPTED = """
import os, signal, sys
from autoshrink import cli
module = sys.argv[1]
class Interrupting:
    def find_spec(self, name, *_):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
sys.argv = ["autoshrink", *sys.argv[2:]]
cli.main()
"""


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("typer", "zoo"),
        ("numpy", "zoo"),
        ("autoshrink.zoo", "zoo"),
        ("autoshrink.latency.measuring", "latency model.onnx"),
    ],
)
def test_ctrl_c_while_modules_are_loaded_is_one_line(module: str, command: str, tmp_path: Path) -> None:
    """Before a command runs, and while it does."""
    line = [sys.executable, "-c", INTERRUPTED, module, *command.split()]
    found = subprocess.run(line, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (found.returncode, found.stdout, found.stderr) == (130, "", "autoshrink: interrupted\n")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_folder_that_is_not_utf8_is_refused_before_a_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/m\xff")
    assert run(["train", "shrinkcnn-a", "--data", "digits", "-o", folder]) == 2
    assert r"m\udcff: the name is not UTF-8, and safetensors opens no such file" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
