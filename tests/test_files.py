"""What is written where: only ordinary files and new names are replaced, whole or not at all, and nothing is left."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from autoshrink import files
from autoshrink.cli import run
from autoshrink.errors import InputError, RunError

CRAFT = ["craft", "shrinkcnn-a", "--input", "3x16x16", "--classes", "3", "--macs", "150k", "-o"]


def refused(output: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert run([*CRAFT, str(output)]) == 2
    shown, complaint = capsys.readouterr()
    assert shown == ""
    assert complaint.count("\n") == 1
    return complaint


def test_devices_pipes_and_folders_are_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoshrink.cli.craft_commands.crafted", lambda *_, **__: pytest.fail("worked first"))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    assert "pipe: cannot be written: it is a pipe, and only ordinary" in refused(tmp_path / "pipe", capsys)
    assert f"it is a pipe (it points at {tmp_path / 'pipe'})" in refused(tmp_path / "link", capsys)
    assert "it is a folder, and only ordinary files are replaced" in refused(tmp_path, capsys)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "loop: cannot be written: " in refused(tmp_path / "loop", capsys)
    (tmp_path / "astray").symlink_to(tmp_path / "no" / "where")
    assert "a link that leads nowhere" in refused(tmp_path / "astray", capsys)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_device_node_stays_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = tmp_path / "node"
    try:
        os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root may make a device node")
    assert "node: cannot be written: it is a device" in refused(node, capsys)
    assert stat.S_ISCHR(node.stat().st_mode)


def test_a_link_is_followed_and_a_second_name_is_not_separated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, link, second = tmp_path / "target.json", tmp_path / "link.json", tmp_path / "second.json"
    target.write_text("before")
    target.chmod(0o640)
    link.symlink_to(target)
    assert run([*CRAFT, str(link)]) == 0
    assert link.is_symlink()
    assert '"format"' in target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    capsys.readouterr()
    second.hardlink_to(target)
    assert "the file has 2 names (hard links), and replacing it would separate them" in refused(second, capsys)
    assert second.samefile(target)


def test_folders_are_made_and_unmade_where_nothing_comes_of_it(tmp_path: Path) -> None:
    assert run([*CRAFT, str(tmp_path / "a" / "b" / "x.json")]) == 0
    with pytest.raises(ValueError, match="no"), files.replacing(tmp_path / "c" / "d" / "x.json"):
        raise ValueError("no")
    with pytest.raises(InputError, match="holds something already"), files.new_folder(tmp_path / "a"):
        pass
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["a", "b", "x.json"]


def test_the_umask_counts_for_a_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "new", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_text("before")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("autoshrink.files.os.fsync", full)
    with pytest.raises(RunError, match="x: cannot be written: No space left on device; what stood there before is st"):
        files.write_text(tmp_path / "x", "after")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("x", "before")]


def test_what_killed_processes_left_is_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    stale = [f".x.onnx.{gone.pid}.draft.onnx", f"autoshrink-{gone.pid}.draft-abc", f".src.{gone.pid}.draft"]
    mine = [f".x.onnx.{os.getpid()}.draft.other", ".x.onnx.draft", ".x.onnx.12ab.draft.onnx"]
    for name in (*stale, *mine):
        (tmp_path / name).mkdir()
    files.write_text(tmp_path / "x.onnx", "text")
    with files.scratch(), files.new_folder(tmp_path / "src"):
        pass
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([*mine, "src", "x.onnx"])
