"""Who may ask for what: tokens, the names under which a server is spoken to, the pages that speak to it, sizes.

The server stands on a machine on which other people's pages run in a browser. So a request has to be addressed to
this machine (a page cannot choose the Host that a browser sends; DNS that leads a foreign name here is refused), must
not come from a foreign page (Origin), and has to bear a token that no page can guess.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY = 64 * 1024
"""Bytes of a command; the longest, a cell, has a few thousand."""
SHORTEST_TOKEN = 16
_TOKEN = re.compile(r"[A-Za-z0-9_.~-]+")

_EMBEDDING = "'self' http://localhost:* http://127.0.0.1:* https://localhost:* https://127.0.0.1:* vscode-webview:"
"""Who may show the page in a frame: notebooks on this machine, in a browser or an editor."""
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    f"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors {_EMBEDDING}",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""Of every answer."""


class Rights(Enum):
    """What a token allows."""

    READ = "read"
    STEER = "steer"


@dataclass(frozen=True)
class Tokens:
    """The tokens of one server; `steer` is None where nobody may give commands."""

    read: str
    steer: str | None

    @classmethod
    def drawn(cls, *, steer: str | None = None, read_only: bool = False) -> Tokens:
        """New ones, unguessable; a person's own instead of the first where there is one."""
        first = steer or secrets.token_urlsafe(24)
        return cls(first, None) if read_only else cls(secrets.token_urlsafe(24), first)

    @property
    def main(self) -> str:
        """The token that allows most."""
        return self.steer or self.read

    def rights(self, authorization: str | None) -> Rights | None:
        """What an ``Authorization`` header allows; the time that it takes says nothing of the tokens."""
        scheme, _, given = (authorization or "").partition(" ")
        offered = given.strip().encode()
        read = secrets.compare_digest(offered, self.read.encode())
        steer = secrets.compare_digest(offered, (self.steer or "").encode()) and self.steer is not None
        if scheme.lower() != "bearer":
            return None
        return Rights.STEER if steer else Rights.READ if read else None


def token_problem(token: str) -> str | None:
    """What is wrong with a token that a person chose; None where nothing is."""
    if len(token) < SHORTEST_TOKEN:
        return f"has {len(token)} characters; give {SHORTEST_TOKEN} at least"
    return None if _TOKEN.fullmatch(token) else "holds other characters than letters, digits and -._~"


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own, out of reach for all others."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def own_names(host: str) -> frozenset[str]:
    """The names, beside addresses, under which a server that listens on a host may be spoken to."""
    if is_loopback(host):
        return frozenset({"localhost"})
    return frozenset(name.lower() for name in ("localhost", host, socket.gethostname(), socket.getfqdn()))


class Guard:
    """Around an application: refuses what is not to be answered, and puts headers on every answer.

    Args:
        app: what is guarded; it finds the `Rights` of a request in its scope, under ``autoshrink.rights``.
        tokens: of the server.
        names: under which it may be spoken to, beside addresses.
        anywhere: whether any address will do, and not those of this machine's loopback alone.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens, names: Collection[str], *, anywhere: bool = False) -> None:
        self._app = app
        self._tokens = tokens
        self._names = names
        self._anywhere = anywhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, with_headers)
        else:
            await self._app(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._own(host):
            return refused(403, "this server is not spoken to under that Host; use the printed address")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return refused(403, "a page of another Origin may not use this server")
        if scope["method"] == "OPTIONS":
            return Response(status_code=204, headers={"allow": "GET, HEAD, OPTIONS, POST"})
        return self._unauthorised(scope, headers) if "api" in scope["path"].split("/") else None

    def _unauthorised(self, scope: Scope, headers: Headers) -> Response | None:
        rights = self._tokens.rights(headers.get("authorization"))
        if rights is None:
            return refused(401, "the token is missing or wrong; it stands in the printed address", bearer=True)
        if scope["method"] not in ("GET", "HEAD") and rights is not Rights.STEER:
            return refused(403, "this link is for reading only: no commands")
        scope["autoshrink.rights"] = rights
        return None

    def _own(self, host: str) -> bool:
        """Whether a Host header names this machine. The port is not compared: a tunnel has one of its own."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return self._anywhere or address.is_loopback


def refused(status: int, why: str, *, bearer: bool = False) -> JSONResponse:
    """An answer that says in one line why there is no other."""
    headers = {"www-authenticate": "Bearer"} if bearer else None
    return JSONResponse({"error": " ".join(why.split())}, status, headers)
