"""Downloads against real servers on this machine: obedient, forgetful, broken, wrong and absent ones."""

import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from autoshrink.data import KnownData, KnownFile, fetch, known_data, load_proxy, open_text
from autoshrink.errors import DataError
from data_fixtures import away_from_home, cifar_binary, tarred

CONTENT = np.random.default_rng(0).bytes(1_000_000)
SUM = hashlib.sha256(CONTENT).hexdigest()

REAL = Path(os.environ.get("AUTOSHRINK_DATA", "nowhere")) / "ptb"


class _Server(ThreadingHTTPServer):
    """Serves `content`, and remembers the Range that each request asked for."""

    daemon_threads = True
    content = CONTENT
    ranges = True
    """Whether it honours Range."""
    drop_after: int | None = None
    """Bytes after which it closes each connection."""
    files: dict[str, bytes]
    """What it serves instead of `content` under these names."""
    failures: list[int]
    """Statuses with which it answers the next requests, before it serves."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.failures = []
        self.files = {}
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/some/data.bin"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.server.failures:
            self.send_error(self.server.failures.pop(0))
            return
        content = self.server.files.get(self.path.rpartition("/")[2], self.server.content)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        body = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.server.drop_after is None else body[: self.server.drop_after])


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _quick_and_away_from_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    away_from_home(monkeypatch, tmp_path)
    monkeypatch.setattr("autoshrink.data.download.BACK_OFF_SECONDS", 0.0)


@pytest.fixture
def get(server: _Server, tmp_path: Path) -> Callable[[], Path]:
    return lambda: fetch("cifar10", url=server.url, sha256=SUM, folder=tmp_path / "data")


def _part(tmp_path: Path, content: bytes) -> Path:
    part = tmp_path / "data" / "cifar10" / "cifar-10-binary.tar.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content)
    return part


def test_a_plain_download_and_nothing_the_second_time(server: _Server, get: Callable[[], Path], tmp_path: Path) -> None:
    path = get()
    assert path == tmp_path / "data" / "cifar10" / "cifar-10-binary.tar.gz"
    assert path.read_bytes() == CONTENT
    assert get() == path
    assert server.asked == [None]
    assert not list(path.parent.glob("*.part"))


def test_the_default_folder_is_the_users_own(server: _Server, tmp_path: Path) -> None:
    path = fetch("cifar10", url=server.url, sha256=SUM.upper())
    assert path == tmp_path / "home" / "autoshrink" / "cifar10" / "cifar-10-binary.tar.gz"


def test_progress_counts_up_to_the_total(server: _Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    fetch("cifar10", url=server.url, sha256=SUM, folder=tmp_path, progress=lambda *step: seen.append(step))
    assert seen[-1] == (1_000_000, 1_000_000)
    assert seen == sorted(seen)


def test_a_part_is_continued(server: _Server, get: Callable[[], Path], tmp_path: Path) -> None:
    _part(tmp_path, CONTENT[:400_000])
    assert get().read_bytes() == CONTENT
    assert server.asked == ["bytes=400000-"]


def test_a_server_that_ignores_ranges_sends_everything_anew(
    server: _Server, get: Callable[[], Path], tmp_path: Path
) -> None:
    server.ranges = False
    _part(tmp_path, b"x" * 400_000)
    assert get().read_bytes() == CONTENT


def test_a_whole_part_is_checked_and_not_downloaded(server: _Server, get: Callable[[], Path], tmp_path: Path) -> None:
    _part(tmp_path, CONTENT)
    assert get().read_bytes() == CONTENT
    assert server.asked == ["bytes=1000000-"]


def test_dropped_connections_are_taken_up_again(server: _Server, get: Callable[[], Path]) -> None:
    server.drop_after = 300_000
    assert get().read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]


def test_after_too_many_drops_the_part_stays_for_the_next_call(
    server: _Server, get: Callable[[], Path], tmp_path: Path
) -> None:
    server.drop_after = 100_000
    with pytest.raises(DataError, match=r"closed after 400,000 of 1,000,000 bytes \(4 attempts\); try again"):
        get()
    assert len(next((tmp_path / "data" / "cifar10").glob("*.part")).read_bytes()) == 400_000
    server.drop_after = None
    assert get().read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=400000-"


def test_passing_failures_are_tried_again(server: _Server, get: Callable[[], Path]) -> None:
    server.failures = [503, 429, 500]
    assert get().read_bytes() == CONTENT


def test_lasting_failures_end_in_an_error(server: _Server, get: Callable[[], Path]) -> None:
    server.failures = [503] * 4
    with pytest.raises(DataError, match=r"the server answers 503 Service Unavailable \(4 attempts\)"):
        get()
    server.failures = [404]
    with pytest.raises(DataError, match=r"data.bin: the server answers 404 Not Found$"):
        get()
    assert len(server.asked) == 5


def test_a_wrong_checksum_names_both_and_deletes_the_part(
    server: _Server, get: Callable[[], Path], tmp_path: Path
) -> None:
    server.content = b"wrong"
    with pytest.raises(DataError) as caught:
        get()
    assert f"expected sha256 {SUM}, got {hashlib.sha256(b'wrong').hexdigest()}" in str(caught.value)
    assert str(caught.value).count("\n") == 1
    assert [path.name for path in (tmp_path / "data" / "cifar10").iterdir() if path.suffix != ".lock"] == []


def test_a_damaged_file_in_place_is_downloaded_anew(server: _Server, get: Callable[[], Path]) -> None:
    path = get()
    path.write_bytes(b"damaged")
    assert get().read_bytes() == CONTENT


def test_no_network(tmp_path: Path) -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/x"
        with pytest.raises(DataError, match=r"cannot be reached: .*Connection refused.* \(4 attempts\)"):
            fetch("cifar10", url=url, folder=tmp_path)


def test_a_silent_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoshrink.data.download.TIMEOUT_SECONDS", 0.05)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent, pytest.raises(DataError, match=r"timed out"):
        fetch("cifar10", url=f"http://127.0.0.1:{silent.getsockname()[1]}/x", folder=tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full to stand for a full disk")
def test_a_full_disk_keeps_the_part(get: Callable[[], Path], tmp_path: Path) -> None:
    part = _part(tmp_path, b"")
    part.unlink()
    part.symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"cannot be written: .*No space left on device; free some space or give"):
        get()
    assert part.is_symlink()


def test_a_folder_that_cannot_be_made(server: _Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match=r"cannot be written"):
        fetch("cifar10", url=server.url, sha256=SUM, folder=tmp_path / "file")


def test_two_downloads_of_one_file_do_not_mix(get: Callable[[], Path], tmp_path: Path) -> None:
    folder = tmp_path / "data" / "cifar10"
    folder.mkdir(parents=True)
    lock = FileLock(folder / "cifar-10-binary.tar.gz.lock")
    with lock, pytest.raises(DataError, match=r"another process is fetching"):
        get()


def test_unknown_names_and_other_schemes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing called cifar01 can be fetched; did you mean cifar10\?"):
        fetch("cifar01")
    with pytest.raises(DataError, match=r"file:///etc/passwd: only http and https addresses can be fetched"):
        fetch("cifar10", url="file:///etc/passwd", folder=tmp_path)


def test_what_is_fetched_is_found_by_its_name(server: _Server, tmp_path: Path) -> None:
    server.content = tarred(tmp_path / "x.tar.gz", cifar_binary()).read_bytes()
    fetch("cifar10", url=server.url, sha256=hashlib.sha256(server.content).hexdigest())
    proxy = load_proxy("cifar10", train_per_class=4, validation_per_class=2, size=None, seed=0)
    assert proxy.name == "cifar10"
    assert proxy.train.images.shape == (40, 3, 32, 32)


@pytest.fixture
def three(server: _Server, monkeypatch: pytest.MonkeyPatch) -> KnownData:
    """The known set ptb, with files that this machine serves."""
    server.files = {f"ptb.{split}.txt": f"{split} <unk>\n".encode() * 1000 for split in ("train", "valid", "test")}
    files = tuple(
        KnownFile(f"http://gone.invalid/x/{name}", len(content), hashlib.sha256(content).hexdigest())
        for name, content in server.files.items()
    )
    data = replace(next(one for one in known_data() if one.name == "ptb"), files=files)
    monkeypatch.setattr("autoshrink.data.download.known_data", lambda: (data,))
    return data


def test_all_files_of_a_set_are_fetched_from_a_mirrors_folder(
    server: _Server, three: KnownData, tmp_path: Path
) -> None:
    seen: list[tuple[int, int | None]] = []
    mirror = server.url.replace("data.bin", "")
    path = fetch("ptb", url=mirror, progress=lambda *step: seen.append(step))
    assert path == tmp_path / "home" / "autoshrink" / "ptb"
    assert {name: (path / name).read_bytes() for name in server.files} == server.files
    assert seen[-1] == (total := sum(file.bytes for file in three.files), total)
    assert seen == sorted(seen)
    assert {step[1] for step in seen} == {total}
    assert fetch("ptb", url=mirror) == path
    assert len(server.asked) == 3
    assert open_text("ptb").count("train") == 1000


def test_a_set_of_several_files_is_continued_where_it_stopped(
    server: _Server, three: KnownData, tmp_path: Path
) -> None:
    mirror = server.url.replace("data.bin", "")
    whole = server.files["ptb.valid.txt"]
    server.files["ptb.valid.txt"] = b"wrong"
    with pytest.raises(DataError, match=r"/some/ptb.valid.txt: wrong checksum, so it was deleted"):
        fetch("ptb", url=mirror)
    with pytest.raises(DataError, match=r"ptb.valid.txt and ptb.test.txt is missing; run: autoshrink data fetch ptb"):
        open_text("ptb")
    server.files["ptb.valid.txt"] = whole
    (tmp_path / "home" / "autoshrink" / "ptb" / "ptb.valid.txt.part").write_bytes(whole[:100])
    assert open_text(str(fetch("ptb", url=mirror))).count("validation") == 1000
    assert server.asked == [None, None, "bytes=100-", None]


def test_mirrors_of_several_files_are_folders(server: _Server, three: KnownData) -> None:
    with pytest.raises(
        DataError, match=r"data.bin: ptb has 3 files \(ptb.train.txt, .*\); give their folder, ending in /"
    ):
        fetch("ptb", url=server.url)
    with pytest.raises(DataError, match=r"ptb has 3 files; a checksum can be given for a set of one file"):
        fetch("ptb", url=server.url, sha256=SUM)
    assert server.asked == []


def test_a_mirrors_folder_holds_a_single_file_too(server: _Server, tmp_path: Path) -> None:
    server.files["cifar-10-binary.tar.gz"] = b"this one"
    checksum = hashlib.sha256(b"this one").hexdigest()
    path = fetch("cifar10", url=server.url.replace("data.bin", ""), sha256=checksum, folder=tmp_path)
    assert path.read_bytes() == b"this one"


def test_the_known_sets_are_stated_in_full() -> None:
    for data in known_data():
        assert data.files
        for file in data.files:
            assert file.url.startswith("https://")
            assert len(bytes.fromhex(file.sha256)) == 32
            assert file.bytes > 0
            assert file.name
        assert data.licence
        assert data.homepage.startswith("https://")
        assert (data.image_size is None) == (data.task == "text")


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason="no ptb folder in the folder named by AUTOSHRINK_DATA")
def test_the_real_penn_treebank_has_the_stated_sizes_and_checksums() -> None:
    for file in next(data for data in known_data() if data.name == "ptb").files:
        content = (REAL / file.name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.bytes, file.sha256)
