"""The ASGI application: reads a request, lets the faults have their way, answers, counts."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from .authorize import Authorizer
from .control import Control
from .html import html_response, page
from .messages import Request, Response
from .mischief import INSTEAD, Delivery, Wire, instead, spoilt
from .oauth import TokenIssuer
from .quiet import quiet
from .resources import Resources, refuse, too_many, wrong_method
from .state import State
from .validator import Validator

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Connections = Callable[[], int]
Cut = Callable[[tuple[str, int]], None]

GZIP_FROM = 512  # bytes; smaller bodies are not worth it
log = logging.getLogger(__name__)


class Application:
    """One sandbox's HTTP face. `connections` tells how many are open, `cut` closes one by its peer address."""

    def __init__(self, state: State, connections: Connections, cut: Cut) -> None:
        self._state = state
        state.counters.watch(connections)
        self._cut = cut
        validator = Validator(state.clients, state.tokens, state.settings, state.clock)
        self._issuer = TokenIssuer(validator, state.settings)
        self._authorizer = Authorizer(validator, state.settings)
        self._resources = Resources(state)
        self._control = Control(state)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; a stop of the sandbox ends it without an answer."""
        try:
            with quiet():
                await self._serve(scope, receive, send)
        except asyncio.CancelledError:
            return

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await _read(scope, receive)
        if request.path.startswith("/_sandbox"):
            await _send(send, request, self._control.answer(request))
            return
        counters, settings = self._state.counters, self._state.settings
        counters.arrived()
        try:
            fault = self._state.faults.take(request.method, request.path, request.query_string)
            wait = settings.latency_ms / 1000 + float(fault.options.get("seconds", 0) if fault else 0)
            if wait:
                await asyncio.sleep(wait)
            if fault is not None and fault.kind in INSTEAD:
                delivery, template = instead(fault, request), self._template(request)
            else:
                if fault is not None and fault.kind == "revoke":
                    self._state.tokens.revoke_all()
                response, template = self._answer(request)
                if settings.gzip:
                    response = _zipped(request, response)
                delivery = Delivery(response) if fault is None else spoilt(fault, response)
            status = None if delivery.wire is Wire.NOT_AT_ALL else delivery.response.status
            counters.answered(request, template, status, fault.kind if fault else None)
            if settings.access_log:
                log.info("%s %s?%s %s", request.method, request.path, request.query_string, status)
        finally:
            counters.left()
        await self._deliver(delivery, request, scope, receive, send)

    async def _deliver(
        self, delivery: Delivery, request: Request, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if delivery.wire is Wire.WHOLE:
            await _send(send, request, delivery.response)
            return
        if delivery.wire is Wire.TRUNCATED:
            half = len(delivery.response.body) // 2
            await _send(send, request, delivery.response, only=half)
        self._cut(scope["client"])
        while (await receive())["type"] != "http.disconnect":
            pass

    def _template(self, request: Request) -> str:
        found = self._resources.route(request.path)
        return found[0].template if found else request.path

    def _answer(self, request: Request) -> tuple[Response, str]:
        path, settings = request.path, self._state.settings
        if path.startswith("/api/"):
            return self._resources.answer(request)
        if path == "/oauth/token":
            if request.method != "POST":
                return wrong_method(request, ("POST",)), path
            verdict = self._state.throttle.check("token", request.address, settings.token_per_minute)
            if not verdict.allowed:
                return too_many(request, verdict), path
            return self._issuer.answer(request).with_headers(*verdict.headers), path
        if path == "/oauth/authorize":
            if request.method not in ("GET", "HEAD", "POST", "DELETE"):
                return wrong_method(request, ("GET", "HEAD", "POST", "DELETE")), path
            return self._authorizer.answer(request), path
        if path == "/login":
            if request.method not in ("GET", "HEAD", "POST"):
                return wrong_method(request, ("GET", "HEAD", "POST")), path
            return self._authorizer.login(request), path
        if path == "/":
            text = "<main><h1>Gofundo sandbox</h1><p>A local stand-in; all data is fictitious.</p></main>"
            return html_response(200, page("Gofundo sandbox", text)), path
        return refuse(request, 404, ""), "unknown"


async def _read(scope: Scope, receive: Receive) -> Request:
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    client = scope.get("client") or ("", 0)
    query_string = scope["query_string"].decode("latin-1")
    return Request(scope["method"], unquote(scope["path"]), query_string, headers, b"".join(chunks), client[0])


async def _send(send: Send, request: Request, response: Response, *, only: int | None = None) -> None:
    """Send the answer; with `only` no more than so many bytes of the body that Content-Length announces."""
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers]
    if response.status != 204:
        headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    body = b"" if request.method == "HEAD" else response.body[:only]
    await send({"type": "http.response.body", "body": body, "more_body": only is not None})


def _zipped(request: Request, response: Response) -> Response:
    if "gzip" not in request.headers.get("accept-encoding", "") or len(response.body) < GZIP_FROM:
        return response
    body = gzip.compress(response.body, compresslevel=1, mtime=0)
    return Response(
        response.status, body, (*response.headers, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))
    )
