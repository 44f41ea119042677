"""The routes under /api/: who may read what, and what is answered otherwise (`tests/transcripts/d*`)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .clients import ALICE
from .donations import DonationEndpoint
from .fields import MODELS
from .html import error_page, redirect
from .lists import ListEndpoint, UnknownCursorField
from .messages import Request, Response, json_response
from .records import Records
from .shapes import SHAPES
from .state import State
from .throttle import Verdict
from .tokens import Access

READ = ("GET", "HEAD")
log = logging.getLogger(__name__)
Handler = Callable[[Request, Access, str], Response]


@dataclass(frozen=True)
class Route:
    """One path with what it takes to be let in."""

    template: str
    methods: tuple[str, ...]
    handler: Handler
    user_only: bool = False
    scope: str | None = None
    limit: str | None = None
    """Name of the setting with the route's own limit a minute."""


class Resources:
    """Routes, authenticates, throttles and answers a resource request."""

    def __init__(self, state: State) -> None:
        self._tokens = state.tokens
        self._settings = state.settings
        self._clock = state.clock
        self._throttle = state.throttle
        self._hooks = state.hooks
        self._lists = ListEndpoint(state.settings)
        self._routes: dict[str, Route] = {}
        self._items: list[tuple[re.Pattern[str], Route]] = []
        self._build(state.records)

    def _build(self, records: Mapping[str, Records]) -> None:
        donations = DonationEndpoint(records["donations"], refuse)
        for name, items in records.items():
            create = ("POST",) if name == "donations" else ()
            self._add(Route(f"/api/{name}", (*READ, *create), self._list(items, "paginate-resource", donations)))
            for shape in SHAPES:
                self._add(Route(f"/api/{shape}/{name}", READ, self._list(items, shape)))
            item = Route(f"/api/{name}/{{id}}", READ, self._item(items, wrapped=True))
            if name == "donations":
                item = Route(item.template, (*READ, "PUT", "PATCH", "DELETE"), donations.one)
            self._add(item)
            self._add(Route(f"/api/{name}-raw/{{id}}", READ, self._item(items, wrapped=False)))
        scoped = self._list(records["donations"], "paginate-resource")
        self._add(Route("/api/scoped/donations", READ, scoped, scope="read-donations"))
        self._add(Route("/api/scoped", READ, _ok, scope="read-donations"))
        self._add(Route("/api/user/scoped", READ, _ok, user_only=True, scope="read-donations"))
        self._add(Route("/api/user/me", READ, _me, user_only=True))
        self._add(Route("/api/throttled", READ, _ok, limit="throttled_per_minute"))
        self._add(Route("/api/forbidden", READ, lambda request, *_: refuse(request, 403, "")))
        self._add(Route("/api/boom", READ, lambda request, *_: refuse(request, 500, "Server Error")))

    def _add(self, route: Route) -> None:
        if "{id}" in route.template:
            self._items.append((re.compile(route.template.replace("{id}", "([^/]+)")), route))
        else:
            self._routes[route.template] = route

    def route(self, path: str) -> tuple[Route, str] | None:
        """The route of a path, and the id in it."""
        route = self._routes.get(path)
        if route is not None:
            return route, ""
        for pattern, item in self._items:
            match = pattern.fullmatch(path)
            if match:
                return item, match[1]
        return None

    def answer(self, request: Request) -> tuple[Response, str]:
        """The answer, and the path's template."""
        found = self.route(request.path)
        if found is None:
            return refuse(request, 404, ""), "unknown"
        route, record_id = found
        if request.method not in route.methods:
            return wrong_method(request, route.methods), route.template
        limit = self._settings.api_per_minute
        verdict = self._throttle.check("api", request.address, limit)
        if verdict.allowed and route.limit:
            limit = getattr(self._settings, route.limit)
            verdict = self._throttle.check(route.template, request.address, limit)
        if not verdict.allowed:
            return too_many(request, verdict), route.template
        response = self._guarded(request, route, record_id)
        return response.with_headers(*verdict.headers) if verdict.headers else response, route.template

    def _guarded(self, request: Request, route: Route, record_id: str) -> Response:
        access = self._bearer(request)
        if access is None or (route.user_only and access.user is None):
            return unauthenticated(request)
        if route.scope and not access.allows(route.scope):
            return refuse(request, 403, "Invalid scope(s) provided.")
        return route.handler(request, access, record_id)

    def _bearer(self, request: Request) -> Access | None:
        """The token of the Authorization header; `bearer` in lower case and the query do not count."""
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        access = self._tokens.access(value) if scheme == "Bearer" else None
        if access is None or access.revoked or access.expires_at < self._clock.now():
            return None
        return access

    def _list(self, records: Records, shape: str, donations: DonationEndpoint | None = None) -> Handler:
        def answer(request: Request, _access: Access, _id: str) -> Response:
            if request.method == "POST" and donations is not None:
                return donations.create(request)
            with records.lock:
                try:
                    if hook := self._hooks.before_each:
                        hook(request.method, request.path)
                    return self._lists.answer(request, records, shape)
                except UnknownCursorField:
                    pass
                except Exception:
                    log.exception("No answer to %s %s", request.method, request.path)
            return refuse(request, 500, "Server Error")

        return answer

    def _item(self, records: Records, *, wrapped: bool) -> Handler:
        def answer(request: Request, _access: Access, record_id: str) -> Response:
            if not record_id.isdecimal() or int(record_id) not in records:
                model = MODELS[records.name]
                return refuse(request, 404, f"No query results for model [App\\Models\\{model}] {record_id}")
            value = records.value(int(record_id))
            return json_response({"data": value} if wrapped else value, pretty=self._settings.pretty)

        return answer


def _ok(_request: Request, _access: Access, _id: str) -> Response:
    return json_response({"ok": True})


def _me(_request: Request, access: Access, _id: str) -> Response:
    user = access.user or ALICE  # the route lets nobody in without one
    born = "2024-01-01T00:00:00.000000Z"
    about = {"id": user.id, "name": user.name, "email": user.email, "email_verified_at": None}
    return json_response({**about, "created_at": born, "updated_at": born})


def refuse(request: Request, status: int, message: str, *headers: tuple[str, str]) -> Response:
    """An error: `{"message": …}` for who asked for JSON first, an HTML page for everybody else."""
    if request.expects_json:
        return json_response({"message": message}, status, *headers)
    return error_page(status, message, *headers)


def unauthenticated(request: Request) -> Response:
    """Missing, garbage, expired and revoked tokens all get the same answer."""
    if request.expects_json:
        return json_response({"message": "Unauthenticated."}, 401)
    return redirect(f"{request.base_url}/login")


def too_many(request: Request, verdict: Verdict) -> Response:
    """429 with what Laravel's throttle tells."""
    if request.expects_json:
        return json_response({"message": "Too Many Attempts."}, 429, *verdict.headers)
    return error_page(429, "", *verdict.headers)


def wrong_method(request: Request, allowed: tuple[str, ...]) -> Response:
    """405 with the methods there are."""
    methods = ", ".join(allowed)
    message = f"The {request.method} method is not supported for this route. Supported methods: {methods}."
    return refuse(request, 405, message, ("Allow", methods))
