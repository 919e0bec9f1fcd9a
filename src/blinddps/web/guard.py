"""Who may ask the page's server, and what every answer of it says."""

from __future__ import annotations

import base64
import secrets
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Guard"]

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Lets nothing in but requests to this page, from this page, by those who may; and says so in every answer.

    The name in ``Host`` is looked at where only this machine is to reach the page: another site's name that leads to
    127.0.0.1 would else read everything. What changes something must come from the page itself.
    """

    def __init__(self, app: ASGIApp, local: bool, auth: str) -> None:
        self._app, self._local = app, local
        self._auth = b"Basic " + base64.b64encode(auth.encode()) if auth else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", []),
                    *((k.encode(), v.encode()) for k, v in HEADERS.items()),
                ]
            await send(message)

        answer = self._refusal(Request(scope))
        await (answer or self._app)(scope, receive, with_headers)

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if self._local and _name(host) not in ("127.0.0.1", "localhost", "::1"):
            return JSONResponse({"error": "this page has another name"}, 421)
        origin = request.headers.get("origin")
        if request.method not in ("GET", "HEAD") and origin and origin.partition("://")[2] != host:
            return JSONResponse({"error": "the request comes from another page"}, 403)
        given = request.headers.get("authorization", "").encode()
        if self._auth and not secrets.compare_digest(given, self._auth):
            return JSONResponse(
                {"error": "name and password, please"}, 401, {"www-authenticate": 'Basic realm="blinddps"'}
            )
        return None


def _name(host: str) -> str | None:
    """Of a machine, without the port."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:  # half of an IPv6 address
        return None
