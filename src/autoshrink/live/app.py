"""The routes of the live page's server, as an ASGI application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib import resources

from anyio import to_thread
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from autoshrink.commands import command_of
from autoshrink.drawing import CELL_STYLE
from autoshrink.errors import AutoshrinkError, InputError
from autoshrink.escaping import message
from autoshrink.live.feed import Feed
from autoshrink.live.guard import MOST_BODY, Guard, Rights, Tokens, refused
from autoshrink.live.panels import PANELS, candidates, panels, what_if_penalty
from autoshrink.live.runs import Runs
from autoshrink.live.wiring import edge_named, what_if
from autoshrink.mailbox import post
from autoshrink.record import RunRecord
from autoshrink.report.templates import asset
from autoshrink.results import summary
from autoshrink.telling import check_told, this_user
from autoshrink.untrusted import parse_json

MOST_STREAMS = 2000
"""Open streams of one server; one more is refused with 503."""
SEND_SECONDS = 30.0
"""A client that takes nothing for so long is let go; it comes again and goes on from where it was."""
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

Answer = Callable[[Request, Feed], Awaitable[Response]]


def application(
    runs: Runs,
    tokens: Tokens,
    names: Collection[str] = ("localhost",),
    *,
    anywhere: bool = False,
    most_streams: int = MOST_STREAMS,
) -> ASGIApp:
    """The application that shows some runs.

    Args:
        runs: which.
        tokens: what clients have to bear.
        names: under which the server may be spoken to, beside addresses.
        anywhere: whether under any address, and not those of the loopback alone.
        most_streams: how many may be open.
    """
    server = _Server(runs, most_streams)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        # Read as it begins, so that a long log is there when somebody comes; what is wrong is said to who asks.
        reading = asyncio.create_task(server.read())
        yield
        reading.cancel()
        runs.close()

    return Starlette(
        routes=server.routes(),
        middleware=[Middleware(Guard, tokens=tokens, names=names, anywhere=anywhere)],
        exception_handlers={HTTPException: _explained, AutoshrinkError: _unreadable, Exception: _bug},
        lifespan=lifespan,
    )


class _Server:
    def __init__(self, runs: Runs, most_streams: int) -> None:
        self._runs = runs
        self._most_streams = most_streams
        self._files = _page_files()

    def routes(self) -> list[Route | Mount]:
        """Those of one run at the root; those of several below their names, and the list at the root."""
        own: list[Route | Mount] = [
            Route("/", self._page("index.html")),
            Route("/page/{file}", self._file),
            Route("/api/record", self._of_run(self._record)),
            Route("/api/events", self._of_run(self._events)),
            Route("/api/panels", self._of_run(self._panels)),
            Route("/api/candidates", self._of_run(self._candidates)),
            Route("/api/whatif", self._of_run(self._what_if)),
            Route("/api/commands", self._of_run(self._command), methods=["POST"]),
        ]
        if not self._runs.several:
            return own
        return [
            Route("/", self._page("list.html")),
            Route("/page/{file}", self._file),
            Route("/api/runs", self._list),
            Mount("/runs/{name}", routes=own),
        ]

    async def read(self) -> None:
        """Read the one run, and make what the page asks for first."""
        folder = self._runs.folder(None)
        if folder is not None:
            with suppress(AutoshrinkError):
                feed = await self._runs.feed(folder)
                await self._summary(feed)

    # --- the page ----------------------------------------------------------------------------------------------------

    def _page(self, file: str) -> Callable[[Request], Awaitable[Response]]:
        async def page(_: Request) -> Response:
            return self._files[file]

        return page

    async def _file(self, request: Request) -> Response:
        found = self._files.get(request.path_params["file"])
        return found or refused(404, "there is no such file of the page")

    # --- the runs ----------------------------------------------------------------------------------------------------

    async def _list(self, _: Request) -> Response:
        return JSONResponse({"runs": await to_thread.run_sync(self._runs.listed)})

    def _of_run(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def found(request: Request) -> Response:
            name = request.path_params.get("name")
            folder = await to_thread.run_sync(self._runs.folder, name)
            if folder is None:
                return refused(404, "there is no such run here")
            return await answer(request, await self._runs.feed(folder))

        return found

    async def _record(self, request: Request, feed: Feed) -> Response:
        return _json(await self._summary(feed), request)

    async def _summary(self, feed: Feed) -> bytes:
        return await feed.view("record", partial(summary, run=feed.folder))

    async def _panels(self, request: Request, feed: Feed) -> Response:
        wanted = tuple(dict.fromkeys(filter(None, request.query_params.get("only", "").split(","))))
        for name in wanted:
            if name not in PANELS:
                return refused(400, f"only={name[:40]}: panels are {', '.join(PANELS)}")
        await feed.refresh()
        sequence, found = feed.sequence, []
        for name in wanted or PANELS:
            made = await feed.view(f"panel {name}", partial(_panel, name))
            found.append(b'"%s":%s' % (name.encode(), made))
        return _json(b'{"sequence":%d,%s}' % (sequence, b",".join(found)), request)

    async def _candidates(self, request: Request, feed: Feed) -> Response:
        after = request.query_params.get("after", "0")
        if not (after.isascii() and after.isdigit() and len(after) < 10):
            return refused(400, f"after={after[:40]}: it is the number of candidates that are known")
        record = await feed.record()
        return JSONResponse(await to_thread.run_sync(candidates, record, int(after)))

    async def _what_if(self, request: Request, feed: Feed) -> Response:
        record, asked = await feed.record(), request.query_params
        try:
            if "edge" in asked:
                edge = edge_named(asked["edge"])
                if edge is None:
                    return refused(400, f"edge={asked['edge'][:40]}: an edge is written 1-4")
                return JSONResponse(await to_thread.run_sync(what_if, record, edge))
            return JSONResponse(await to_thread.run_sync(what_if_penalty, record, float(asked.get("penalty", "nan"))))
        except (InputError, ValueError) as error:
            return refused(400, message(error) if isinstance(error, InputError) else "penalty: no number")

    async def _command(self, request: Request, feed: Feed) -> Response:
        body = await _body(request)
        if body is None:
            return refused(413, f"a command has {MOST_BODY:,} bytes at most")
        record = await feed.record()
        try:
            command = command_of(parse_json(body, most=MOST_BODY))
            await to_thread.run_sync(check_told, feed.folder, record, command)
            number = await to_thread.run_sync(post, feed.folder, command, this_user())
        except InputError as error:
            return refused(400, message(error))
        return JSONResponse({"id": number, "command": command.to_json(), "finished": record.finished}, 202)

    async def _events(self, request: Request, feed: Feed) -> Response:
        last = request.headers.get("last-event-id", "").strip() or "0"
        if not (last.isascii() and last.isdigit() and len(last) < 20):
            return refused(400, f"Last-Event-ID: {last[:40]!r} is no number of an event")
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        if self._runs.watched >= self._most_streams:
            return refused(503, f"{self._most_streams} streams are open, as many as this server keeps")
        return EventSourceResponse(feed.stream(int(last)), send_timeout=SEND_SECONDS)


def _json(content: bytes, request: Request) -> Response:
    """Bytes of JSON; the address of the run's rights for the page in a header."""
    rights = request.scope.get("autoshrink.rights", Rights.READ)
    return Response(content, media_type="application/json", headers={"x-autoshrink-rights": rights.value})


async def _body(request: Request) -> bytes | None:
    """What a request brings; None where it is more than a command can be."""
    found = b""
    async for piece in request.stream():
        found += piece
        if len(found) > MOST_BODY:
            return None
    return found


def _panel(name: str, record: RunRecord) -> dict[str, object]:
    found: dict[str, object] = panels(record, (name,))[name]
    return found


def _page_files() -> Mapping[str, Response]:
    """The page's files, by name: nothing else is ever served, so no path leads anywhere."""
    found = {}
    for file in resources.files("autoshrink.live").joinpath("page").iterdir():
        kind = _KINDS.get(file.name[file.name.rfind(".") :])
        if kind is not None:
            found[file.name] = Response(file.read_bytes(), media_type=kind, headers={"cache-control": "no-cache"})
    style = str(asset("style.css") + CELL_STYLE)
    # The report's own, so that both draw alike.
    found["report.css"] = Response(style, media_type="text/css", headers={"cache-control": "no-cache"})
    return found


async def _explained(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), "it is registered for these"
    words = {404: "there is nothing under this address", 405: "that is no method of this address"}
    answer = refused(error.status_code, words.get(error.status_code, str(error.detail)))
    answer.headers.update(error.headers or {})
    return answer


async def _unreadable(_: Request, error: Exception) -> Response:
    """A run that is gone, damaged or cannot be understood."""
    return refused(500, message(error))


async def _bug(_: Request, error: Exception) -> Response:
    """What nobody expected: the server goes on, and says where it is started what it was."""
    logging.getLogger("uvicorn.error").critical("a request failed", exc_info=error)
    return refused(500, f"this should not have happened: {type(error).__name__}")
