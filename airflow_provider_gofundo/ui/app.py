"""The app: the routes under /gofundo. They all run in threads, so that the API server goes on meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import BoundedSemaphore
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Depends, FastAPI, Form, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from airflow_provider_gofundo.checkup import Finding
from airflow_provider_gofundo.exceptions import GofundoError
from airflow_provider_gofundo.hooks.gofundo import GofundoHook
from airflow_provider_gofundo.oauth.token import now
from airflow_provider_gofundo.state.logins import (
    LoginState,
    gofundo_connections,
    is_gofundo,
    login_state,
    settings_of,
)
from airflow_provider_gofundo.ui import flow, pages
from airflow_provider_gofundo.ui.access import (
    Refused,
    may_edit,
    require_edit,
    require_own_press,
    seal,
)

log = logging.getLogger(__name__)

router = APIRouter()

# Of those who wait for a Gofundo server, at the same time.
_turns = BoundedSemaphore(4)


def the_time() -> datetime:
    """Return the time; a test puts another clock in its place."""
    return now()


Now = Annotated[datetime, Depends(the_time)]
FormToken = Annotated[str, Form()]


def build() -> FastAPI:
    """Return the app that the plugin mounts."""
    app = FastAPI(title="Gofundo", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.include_router(router)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _http_error)
    return app


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    state: LoginState
    standing: str


@router.get("/connections")
def connections(request: Request, user: GetUserDep, time: Now) -> Response:
    """Show every gofundo connection that this user may edit."""
    ids = [conn_id for conn_id in gofundo_connections() if may_edit(user, conn_id)]
    if not ids:
        require_edit(user)
    states = [login_state(conn_id) for conn_id in ids]
    rows = [Row(state=state, standing=pages.standing(state, time)) for state in states]
    return pages.page(request, "connections.html", title="Gofundo connections", rows=rows)


@router.get("/connections/{connection_id:path}")
def connection(request: Request, connection_id: str, user: GetUserDep, time: Now, authorized: str = "") -> Response:
    """Show one connection, with its buttons."""
    _require_ours(user, connection_id)
    return _connection_page(request, user, connection_id, time, authorized=bool(authorized))


@router.post("/connections/{connection_id:path}/check")
def check(request: Request, connection_id: str, user: GetUserDep, time: Now, form_token: FormToken = "") -> Response:
    """Walk through everything that a login needs, and show what was found."""
    _require_ours(user, connection_id)
    require_own_press(request, user, connection_id, form_token, time)
    try:
        hook = GofundoHook(connection_id)
        with _a_turn(), hook.client:
            findings = list(hook.checkup())
    except GofundoError as error:
        raise Refused(409, "Check: it fails", str(error), conn_id=connection_id) from None
    return _connection_page(request, user, connection_id, time, findings=findings)


@router.post("/connections/{connection_id:path}/authorize")
def authorize(
    request: Request, connection_id: str, user: GetUserDep, time: Now, form_token: FormToken = ""
) -> Response:
    """Send the browser to Gofundo's login."""
    _require_ours(user, connection_id)
    require_own_press(request, user, connection_id, form_token, time)
    with _a_turn():
        login_url = flow.begin(request, user, connection_id, time)
    return pages.see_other(login_url)


@router.get("/callback")
def callback(request: Request, user: GetUserDep, time: Now, state: str = "", error: str = "") -> Response:
    """Take what Gofundo sends the browser back with, and exchange its code for a token."""
    if error and not state:
        require_edit(user)
        # League 8 leaves the state out of some errors; without a code they give nothing away.
        raise flow.denied(error)
    login = flow.find(user, state)
    _require_ours(user, login.conn_id)
    if error:
        flow.take(login, state, time)
        raise flow.denied(error, login.conn_id)
    with _a_turn():  # before the state is used up: who is told to come back in a minute can
        flow.take(login, state, time)
        flow.finish(request, state, login, user)
    log.info("Connection %s was authorised on the Authorize page.", login.conn_id)
    return pages.see_other(f"{pages.path_of(request, login.conn_id)}?authorized=1")


@contextmanager
def _a_turn() -> Iterator[None]:
    """Keep a silent server from taking all threads that these pages share with Airflow."""
    if not _turns.acquire(blocking=False):
        raise Refused(503, "Too busy", "Others are waiting for Gofundo just now. Try again in a minute.")
    try:
        yield
    finally:
        _turns.release()


def _require_ours(user: Any, conn_id: str) -> None:
    """Refuse who may not edit it, and then what is none of ours."""
    require_edit(user, conn_id)
    if not is_gofundo(conn_id):
        raise Refused(404, "No such connection", "There is no connection of type Gofundo with this id.")


def _connection_page(
    request: Request,
    user: Any,
    conn_id: str,
    time: datetime,
    *,
    authorized: bool = False,
    findings: list[Finding] | None = None,
) -> Response:
    state = login_state(conn_id)
    hindrance = ""
    targets: tuple[str, ...] = ()
    if state.grant_type == "authorization_code":
        settings = settings_of(conn_id)
        hindrance = flow.hindrance(request, settings)
        # Chromium holds a form to its targets through every redirect: to Gofundo, a login elsewhere, and back.
        if not hindrance:
            targets = ("https:", pages.origin(settings.base_url), pages.origin(settings.redirect_uri or ""))
    return pages.page(
        request,
        "connection.html",
        form_targets=targets,
        title=conn_id,
        state=state,
        standing=pages.standing(state, time),
        # Whoever only opens the address with this word in it has logged nobody in.
        authorized=authorized
        and state.grant_type == "authorization_code"
        and state.renewed_at is not None
        and (time - state.renewed_at).total_seconds() < 300,
        findings=findings,
        redirect_uri=flow.redirect_uri(request),
        hindrance=hindrance,
        form_token=seal(user, conn_id, time),
    )


def _refused(request: Request, refused: Any) -> Response:
    link = pages.path_of(request, refused.conn_id) if refused.conn_id else f"{pages.prefix(request)}/connections"
    return pages.page(
        request,
        "message.html",
        status=refused.status,
        referrer="no-referrer",
        title=refused.title,
        text=refused.text,
        link=link,
        link_text="To the connection" if refused.conn_id else "To the Gofundo connections",
    )


def _asked_for(request: Request) -> str:
    """
    Return the path of the connection's page that was asked for; empty for anything else.

    Made from the id, all of which is quoted: a path below these pages, whatever somebody put into a link.
    """
    conn_id = request.path_params.get("connection_id", "")
    return pages.path_of(request, conn_id) if conn_id and request.method == "GET" else ""


def _http_error(request: Request, error: Any) -> Response:
    """Show what Airflow's own guards and the framework say; nothing of the request is repeated."""
    status = getattr(error, "status_code", 400)
    title, link_text = "This does not work", "To the Gofundo connections"
    text = "The address is not one of these pages, or was used in a way that it is not for."
    link = f"{pages.prefix(request)}/connections"
    # Airflow answers a login that has been tampered with, or is of another server, with 403.
    if status in (401, 403):
        title, link_text = "Not logged in", "Log in to Airflow"
        text = "Log in to Airflow first, and come back to this page."
        link = get_auth_manager().get_url_login(next_url=_asked_for(request) or link)
    return pages.page(
        request,
        "message.html",
        status=status,
        referrer="no-referrer",
        title=title,
        text=text,
        link=link,
        link_text=link_text,
    )
