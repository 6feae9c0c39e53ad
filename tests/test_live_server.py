"""The server of the live page: who may ask, what is refused, and that the search does not notice any of it."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sse_starlette")
pytest.importorskip("httpx")

import httpx

from autoshrink.cli import run as command
from autoshrink.live.app import application
from autoshrink.live.guard import HEADERS, MOST_BODY, Tokens, is_loopback, own_names, token_problem
from autoshrink.live.process import watch
from autoshrink.live.runs import Runs
from autoshrink.mailbox import FILE_NAME as COMMANDS
from autoshrink.store import Store, read_events, read_record
from fakes import loop, new_store, story
from live_fixtures import HOSTILE, finished_run, parsed
from test_store_damage import altered

READ, STEER = "r" * 20, "s" * 20
BOTH = Tokens(READ, STEER)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("watched") / "run")


def ask(
    root: Path,
    path: str,
    *,
    method: str = "GET",
    token: str | None = STEER,
    headers: dict[str, str] | None = None,
    content: bytes | None = None,
    tokens: Tokens = BOTH,
) -> Any:
    """One request to an application of its own, without a socket."""

    async def answer() -> Any:
        app = application(Runs(root), tokens)
        bearer = {} if token is None else {"authorization": f"Bearer {token}"}
        sent = [(name.encode(), value.encode()) for name, value in (bearer | (headers or {})).items()]
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8400") as client:
            return await client.request(method, path, headers=sent, content=content)

    return asyncio.run(answer())


def refusal(answer: Any) -> str:
    """What a refusal says: one line, in JSON, under all the headers."""
    for name in HEADERS:
        assert name in answer.headers
    (words,) = answer.json().values()
    assert list(answer.json()) == ["error"]
    assert len(words.splitlines()) == 1
    return str(words)


# --- who may ask ---------------------------------------------------------------------------------------------------


def test_the_record_is_what_show_prints(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = ask(run, "/api/record")
    assert command(["show", str(run), "--json"]) == 0
    assert answer.json() == json.loads(capsys.readouterr().out) | {"sequence": len(list(read_events(run)))}
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.0.7:8400", "", "[::2]", "a[b"])
def test_a_foreign_host_is_refused_even_with_the_token(run: Path, host: str) -> None:
    for path in ("/", "/page/live.js", "/api/record"):
        answer = ask(run, path, headers={"host": host})
        assert (answer.status_code, "Host" in refusal(answer)) == (403, True)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8400", "localhost", "LOCALHOST:9", "127.0.0.1", "[::1]:8400", "localhost."]
)
def test_own_names_are_not(run: Path, host: str) -> None:
    assert ask(run, "/api/record", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:8401", "http://localhost:8400", "https://127.0.0.1"]
)
def test_a_foreign_origin_is_refused_even_with_the_token(run: Path, origin: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        answer = ask(run, "/api/record", method=method, headers={"origin": origin})
        assert (answer.status_code, "Origin" in refusal(answer)) == (403, True)
        assert "access-control-allow-origin" not in answer.headers


def test_the_own_origin_is_not(run: Path) -> None:
    assert ask(run, "/api/record", headers={"origin": "http://127.0.0.1:8400"}).status_code == 200


@pytest.mark.parametrize("bearer", ["", "Bearer", "Bearer ", f"Bearer {STEER}x", f"Basic {STEER}", STEER, "Bearer ü"])
@pytest.mark.parametrize("path", ["/api/record", "/api/events", "/api/commands", "/api/nothing"])
def test_without_the_token_nothing_of_a_run_is_said(run: Path, bearer: str, path: str) -> None:
    answer = ask(run, path, token=None, headers={"authorization": bearer})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "token" in refusal(answer)


def test_the_page_itself_needs_none_and_says_nothing_of_the_run(run: Path) -> None:
    for path in ("/", "/page/live.js", "/page/live.css"):
        answer = ask(run, path, token=None)
        assert answer.status_code == 200
        assert HOSTILE not in answer.text
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_token_for_reading_reads_and_does_not_steer(run: Path) -> None:
    assert ask(run, "/api/record", token=READ).headers["x-autoshrink-rights"] == "read"
    assert ask(run, "/api/record", token=STEER).headers["x-autoshrink-rights"] == "steer"
    answer = ask(run, "/api/commands", method="POST", token=READ, content=b'{"command": "pause"}')
    assert (answer.status_code, "reading" in refusal(answer)) == (403, True)
    assert not (run / COMMANDS).exists()


def test_read_only_means_everybody(run: Path) -> None:
    tokens = Tokens.drawn(read_only=True)
    assert tokens.main == tokens.read
    answer = ask(run, "/api/commands", method="POST", token=tokens.main, content=b"{}", tokens=tokens)
    assert answer.status_code == 403
    # No token at all is not the token that nobody has.
    assert ask(run, "/api/commands", method="POST", token="", content=b"{}", tokens=tokens).status_code == 401


def test_tokens_are_drawn_anew_and_can_be_chosen() -> None:
    drawn = {token for one in (Tokens.drawn() for _ in range(50)) for token in (one.read, one.steer)}
    assert len(drawn) == 100
    assert all(token_problem(str(token)) is None for token in drawn)
    assert Tokens.drawn(steer="my-own-token-for-this").main == "my-own-token-for-this"
    assert token_problem("short") is not None
    assert token_problem("0123456789abcdef\n") is not None


def test_addresses_of_this_machine_alone() -> None:
    assert [is_loopback(one) for one in ("127.0.0.1", "127.8.9.1", "::1", "localhost", "LocalHost")] == [True] * 5
    assert [is_loopback(one) for one in ("0.0.0.0", "192.168.0.1", "example.org", "::", "")] == [False] * 5
    assert own_names("127.0.0.1") == {"localhost"}
    assert {"localhost", socket.gethostname().lower()} <= own_names("0.0.0.0")


# --- what is asked for ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *("/page/../../store.py", "/page/..%2f..%2fstore.py", "/page/%2e%2e/app.py", "/page//etc/passwd"),
        *("/runs/run/api/record", "/../run.sqlite", "/run.sqlite", "/api/../../run.sqlite", "/page/app.py", "/page/"),
    ],
)
def test_nothing_but_the_page_is_served(run: Path, path: str) -> None:
    answer = ask(run, path)
    assert answer.status_code == 404
    refusal(answer)


@pytest.mark.parametrize(
    "name",
    ["..", ".", "%2e%2e", "..%2fother", "..%2f..%2fetc", "%2Fetc", "a%00b", "", "~", "run%2f..%2frun", "RUN", "notes"],
)
def test_runs_are_looked_up_and_no_path_is_made_of_a_name(run: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "runs" / "notes").mkdir(parents=True)
    shutil.copytree(run, tmp_path / "runs" / "run")
    shutil.copytree(run, tmp_path / "other")
    assert ask(tmp_path / "runs", f"/runs/{name}/api/record").status_code == 404
    assert ask(tmp_path / "runs", "/runs/run/api/record").status_code == 200
    assert ask(tmp_path / "runs", "/api/record").status_code == 404


def test_the_list_has_every_run_and_those_that_come_later(run: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    root.mkdir()
    assert ask(root, "/api/runs").json() == {"runs": []}
    shutil.copytree(run, root / HOSTILE.replace("/", "∕"))
    shutil.copytree(run, root / "a #?%b")
    new_store(root / "begun").close()
    shutil.copytree(run, root / "broken")
    (root / "broken" / "run.sqlite").write_bytes(b"no log at all" * 100)
    (root / "neither").mkdir()
    found = {one["name"]: one for one in ask(root, "/api/runs").json()["runs"]}
    assert {name: one["status"] for name, one in found.items()} == {
        HOSTILE.replace("/", "∕"): "finished",
        "a #?%b": "finished",
        "begun": "stopped",
        "broken": "unreadable",
    }
    assert found["begun"]["sequence"] == 2
    assert found["a #?%b"]["task"] == "image"
    answer = ask(root, "/runs/a%20%23%3F%25b/api/record")
    assert answer.json()["status"] == "finished"
    assert ask(root, "/runs/begun").headers["location"].endswith("/runs/begun/")
    assert "damaged" in refusal(ask(root, "/runs/broken/api/record"))


def test_methods_that_are_not_meant(run: Path) -> None:
    for method, path, status in (
        *(("HEAD", "/", 200), ("HEAD", "/api/record", 200), ("HEAD", "/api/events", 200)),
        *(("OPTIONS", "/api/record", 204), ("PUT", "/api/record", 405), ("DELETE", "/api/commands", 405)),
        *(("GET", "/api/commands", 405), ("POST", "/", 405), ("POST", "/api/events", 405)),
    ):
        answer = ask(run, path, method=method)
        assert answer.status_code == status, (method, path)
        if status == 405:
            refusal(answer)
        else:
            assert answer.content == b""


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "٣", "9" * 40, "1 2"])
def test_a_last_event_that_is_no_number(run: Path, last: str) -> None:
    answer = ask(run, "/api/events", headers={"last-event-id": last})
    assert (answer.status_code, "Last-Event-ID" in refusal(answer)) == (400, True)


def test_a_damaged_log_is_one_line(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    altered(tmp_path / "run", "UPDATE events SET at = at + 1 WHERE number = 4")
    answer = ask(tmp_path / "run", "/api/record")
    assert (answer.status_code, "event 4" in refusal(answer)) == (500, True)


# --- commands ------------------------------------------------------------------------------------------------------


def test_a_command_is_put_where_the_search_finds_it(tmp_path: Path) -> None:
    new_store(tmp_path / "run").close()
    edge = read_record(tmp_path / "run").start.to_json()["edges"][0]
    content = json.dumps({"command": "forbid", "edge": edge}).encode()
    answer = ask(tmp_path / "run", "/api/commands", method="POST", content=content)
    assert answer.status_code == 202
    (line,) = (tmp_path / "run" / COMMANDS).read_text().splitlines()
    assert json.loads(line)["command"] == {"command": "forbid", "edge": edge}
    assert json.loads(line)["id"] == answer.json()["id"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"command": "dance"}',
        b'{"command": "forbid", "edge": [3, 1]}',
        b"\xff",
        b"[" * 9999,
    ],
)
def test_what_is_no_command_is_refused_with_words(tmp_path: Path, content: bytes) -> None:
    new_store(tmp_path / "run").close()
    answer = ask(tmp_path / "run", "/api/commands", method="POST", content=content)
    assert answer.status_code == 400
    refusal(answer)
    assert not (tmp_path / "run" / COMMANDS).exists()


@pytest.mark.parametrize("size", [MOST_BODY + 1, 1 << 20, 1 << 25])
def test_a_command_of_a_megabyte_is_refused_quickly(run: Path, size: int) -> None:
    began = time.monotonic()
    answer = ask(run, "/api/commands", method="POST", content=b" " * size)
    assert (answer.status_code, f"{MOST_BODY:,}" in refusal(answer)) == (413, True)
    assert time.monotonic() - began < 5


# --- the command line, and a process of its own ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "70000"], "70000"),
        (["--host", "0.0.0.0"], "--token"),
        (["--host", "nowhere.invalid", "--token", STEER], "nowhere.invalid"),
        (["--token", "short"], "--token"),
        (["--host", "192.0.2.1", "--token", STEER], "192.0.2.1"),
    ],
)
def test_what_cannot_be_served_is_one_line(
    run: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["watch", str(run), *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


def test_what_is_no_run_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.sqlite").write_bytes(b"no log at all" * 100)
    for path, said in ((tmp_path / "nothing", "no such folder"), (tmp_path / "broken", "damaged")):
        assert command(["watch", str(path), "--port", "0"]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert len(err.splitlines()) == 1


def test_a_taken_port_is_one_line_with_the_way_out(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert command(["watch", str(run), "--port", str(port)]) == 2
    err = capsys.readouterr().err
    assert f"--port {port}" in err
    assert "--port 0" in err


def test_a_missing_extra_is_one_line_with_the_command(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("autoshrink.live.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert command(["watch", str(run), "--port", "0"]) == 2
    err = capsys.readouterr().err
    assert "pip install 'autoshrink[live]'" in err
    assert len(err.splitlines()) == 1


@contextmanager
def served(root: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """`autoshrink watch` in a process, and what it said first."""
    process = subprocess.Popen(
        [sys.executable, "-m", "autoshrink", "watch", str(root), "--port", "0", "--json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def stream(client: Any, base: str, token: str, after: int, events: int) -> list[Any]:
    """So many events of a stream that is then let go."""
    headers = {"authorization": f"Bearer {token}", "last-event-id": str(after)}
    with client.stream("GET", f"{base}api/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = ""
        for piece in answer.iter_text():
            text += piece
            whole = text[: text.rfind("\n\n") + 2]
            if len(parsed(whole)) >= events:
                return parsed(whole)
    raise AssertionError("the stream ended")


def test_a_search_is_watched_by_hundreds_killed_and_gone_on_with(tmp_path: Path) -> None:
    """One process that serves, a search that is killed and goes on, clients that come, go and come again."""
    run = tmp_path / "run"
    new_store(run).close()
    with served(run) as (process, said), httpx.Client(timeout=20) as client:
        base, token = said["url"].split("#")[0], said["token"]
        assert said["url"] == f"{base}#token={token}"
        assert said["read_only_token"] in said["read_only_url"]
        first = stream(client, base, token, 0, 2)
        assert [number for _, number, _ in first] == [1, 2]

        idle = [socket.create_connection(("127.0.0.1", int(base.split(":")[2].strip("/")))) for _ in range(200)]
        request = f"GET /api/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        for one in idle:
            one.sendall(request)
        time.sleep(0.5)

        with Store.open(run) as store:
            loop(store).run()
        events = list(read_events(run))
        again = stream(client, base, token, 2, len(events) - 2)
        assert [data["body"] for _, _, data in again] == [event.body for event in events[2:]]
        for one in idle:
            one.settimeout(20)
            assert one.recv(100).startswith(b"HTTP/1.1 200")
            one.close()
        record = client.get(f"{base}api/record", headers={"authorization": f"Bearer {token}"}).json()
        assert (record["status"], record["sequence"]) == ("finished", len(events))

        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr is not None
        assert process.stderr.read() == "the page is closed\n"
    new_store(tmp_path / "alone").close()
    with Store.open(tmp_path / "alone") as store:
        loop(store).run()
    assert story(run) == story(tmp_path / "alone")


def test_the_server_dies_and_who_comes_again_goes_on(run: Path) -> None:
    events = list(read_events(run))
    with served(run) as (process, said), httpx.Client(timeout=20) as client:
        stream(client, said["url"].split("#")[0], said["token"], 0, 5)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        with pytest.raises(httpx.TransportError):
            client.get(said["url"].split("#")[0])
    with served(run, "--token", STEER) as (_, said), httpx.Client(timeout=20) as client:
        assert said["token"] == STEER
        found = stream(client, said["url"].split("#")[0], STEER, 5, len(events) - 5)
        assert [number for _, number, _ in found] == list(range(6, len(events) + 1))


def test_from_python_the_page_ends_with_who_opened_it(run: Path) -> None:
    with watch(run) as page:
        base = page.url.split("#")[0]
        answer = httpx.get(f"{base}api/record", headers={"authorization": f"Bearer {page.token}"})
        assert answer.json()["status"] == "finished"
        assert f'<iframe src="{page.url}"' in page._repr_html_()
    assert not page.open
    assert "closed" in page._repr_html_()
    with pytest.raises(httpx.TransportError):
        httpx.get(base)

    code = (
        f"import autoshrink, os, signal; print(autoshrink.watch({str(run)!r}).url, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    for _ in range(100):
        try:
            httpx.get(done.stdout.split("#")[0])
        except httpx.TransportError:
            break
        time.sleep(0.1)
    else:
        raise AssertionError("the page outlived who opened it")


def test_streams_above_the_limit_are_refused(run: Path) -> None:
    async def answers() -> list[int]:
        app = application(Runs(run), BOTH, most_streams=3)
        statuses: list[int] = []
        gone = asyncio.Event()

        async def client() -> None:
            asked = False

            async def receive() -> dict[str, Any]:
                nonlocal asked
                if not asked:
                    asked = True
                    return {"type": "http.request", "body": b"", "more_body": False}
                await gone.wait()
                return {"type": "http.disconnect"}

            async def send(message: Any) -> None:
                if message["type"] == "http.response.start":
                    statuses.append(message["status"])

            headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {READ}".encode())]
            scope = {"type": "http", "method": "GET", "path": "/api/events", "query_string": b"", "headers": headers}
            await app(scope | {"http_version": "1.1", "scheme": "http", "root_path": ""}, receive, send)

        clients = []
        for _ in range(5):
            clients.append(asyncio.create_task(client()))
            await asyncio.sleep(0.5)
        gone.set()
        await asyncio.gather(*clients)
        return statuses

    assert asyncio.run(answers()) == [200, 200, 200, 503, 503]
