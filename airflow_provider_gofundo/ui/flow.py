"""Flow: a login in the browser, from the button to the token. What stands in its way is told before it begins."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Any

from airflow.configuration import conf
from starlette.requests import Request

from airflow_provider_gofundo.exceptions import GofundoAuthError, GofundoConfigError, GofundoError
from airflow_provider_gofundo.hooks.gofundo import GofundoHook
from airflow_provider_gofundo.oauth.authorization import AuthorizationRequest
from airflow_provider_gofundo.oauth.record import fingerprint
from airflow_provider_gofundo.settings import Settings
from airflow_provider_gofundo.state.login import renewing_as
from airflow_provider_gofundo.state.logins import settings_of
from airflow_provider_gofundo.ui import pending
from airflow_provider_gofundo.ui.access import Refused, require_edit, require_encryption


def redirect_uri(request: Request) -> str:
    """Return where Gofundo has to send the browser: here, as Airflow's own configuration calls it."""
    base = conf.get("api", "base_url", fallback="") or str(request.base_url).removesuffix("/").removesuffix(
        "/gofundo"
    )
    return f"{base.rstrip('/')}/gofundo/callback"


def hindrance(request: Request, settings: Settings) -> str:
    """Return why Authorize cannot begin, and what to change; empty when nothing is in the way."""
    if not settings.share_login:
        return "Share login is off, so a token could not be kept for the tasks. Switch it on in the connection."
    try:
        require_encryption()
    except Refused as refused:
        return f"{refused.title}. {refused.text}"
    own = redirect_uri(request)
    if settings.redirect_uri != own:
        return (
            f"Redirect URI in the connection is {settings.redirect_uri}. To use this page, make it {own} there, and "
            "register the same with the API client in Gofundo."
        )
    return ""


def begin(request: Request, user: Any, conn_id: str, time: datetime) -> str:
    """Begin a login; returns the address to send the browser to."""
    try:
        settings = settings_of(conn_id)
        begun = GofundoHook(conn_id).authorization()
    except GofundoError as error:
        raise Refused(409, "Authorize cannot begin", str(error), conn_id=conn_id) from None
    in_the_way = hindrance(request, settings)
    if in_the_way:
        raise Refused(409, "Authorize cannot begin", in_the_way, conn_id=conn_id)
    _require_server(conn_id)
    pending.PendingLogin(
        user_id=str(user.get_id()),
        conn_id=conn_id,
        fingerprint=fingerprint(settings),
        verifier_token=begun.code_verifier,
        made=time,
    ).keep(begun.state)
    return begun.url


def _require_server(conn_id: str) -> None:
    """Refuse where Gofundo's server does not answer: the browser would be sent to an error page of its own."""
    hook = GofundoHook(conn_id)
    with hook.client:
        for finding in islice(hook.checkup(), 2):  # address, connection
            if not finding.ok:
                text = f"{finding.text} Nothing was changed. Press Authorize again once it answers."
                raise Refused(502, "Gofundo cannot be reached", text, conn_id=conn_id)


def find(user: Any, state: str) -> pending.PendingLogin:
    """Return the login that this user has begun under this state."""
    login = pending.find(state) if state else None
    if login is None or login.user_id != str(user.get_id()):
        require_edit(user)
        raise Refused(
            400,
            "This login is not known here",
            "It was finished already, or another user of Airflow began it. No token was asked for. If the "
            "connection's page shows no new token, press Authorize there again.",
        )
    return login


def take(login: pending.PendingLogin, state: str, time: datetime) -> None:
    """Use it up, so that nobody does twice."""
    if not pending.take(state):
        raise Refused(
            400, "This login was finished already", "Nothing was done a second time.", conn_id=login.conn_id
        )
    if not login.is_alive(time):
        text = f"More than {pending.LIFE.seconds // 60} minutes went by. Press Authorize again."
        raise Refused(400, "This login took too long", text, conn_id=login.conn_id)


def finish(request: Request, state: str, login: pending.PendingLogin, user: Any) -> None:
    """Exchange the code that the browser brought for a token, which all workers use from then on."""
    begun = AuthorizationRequest(url="", state=state, code_verifier=login.verifier_token)
    try:
        settings = settings_of(login.conn_id)
        if fingerprint(settings) != login.fingerprint or hindrance(request, settings):
            raise GofundoConfigError("The connection was changed meanwhile. Press Authorize again.")
        with renewing_as(f"user {user.get_name()} on the Authorize page"):
            GofundoHook(login.conn_id).authorize(begun, str(request.url))
    except GofundoError as error:
        status = 400 if isinstance(error, (GofundoAuthError, GofundoConfigError)) else 502
        text = f"{error} No token was stored. The code is used up: to try again, press Authorize again."
        failure = Refused(status, "The login could not be finished", text, conn_id=login.conn_id)
    else:
        return
    raise failure


def denied(error: str, conn_id: str = "") -> Refused:
    """Return what to say when Gofundo sends an error instead of a code."""
    if error == "access_denied":
        text = "The login was declined in Gofundo. Nothing was changed. To try again, press Authorize and approve it."
        return Refused(403, "Declined", text, conn_id=conn_id)
    text = (
        "Gofundo refused the login. Nothing was changed. Compare Client ID, Redirect URI and Scope with Instellingen "
        "> API-koppeling, and press Authorize again."
    )
    return Refused(400, "Refused", text, conn_id=conn_id)
