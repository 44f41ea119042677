"""Pages: what the browser gets. Rendered here, without a line of JavaScript."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

from airflow_provider_gofundo.state.logins import LoginState

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

# What gets a new token without a person.
_BY_ITSELF = ("client_credentials", "password")


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    form_targets: tuple[str, ...] = (),
    referrer: str = "same-origin",
    **values: Any,
) -> HTMLResponse:
    """Render one. `form_targets` are where its forms may end, besides here, as CSP writes it."""
    nonce = secrets.token_urlsafe(16)
    html = _TEMPLATES.get_template(template).render(prefix=prefix(request), nonce=nonce, **values)
    answer = HTMLResponse(html, status, headers=_headers(referrer))
    targets = " ".join(["'self'", *dict.fromkeys(form_targets)])
    answer.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; form-action {targets}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    return answer


def see_other(url: str) -> RedirectResponse:
    """Send the browser on, with GET."""
    return RedirectResponse(url, 303, headers=_headers("no-referrer"))


def prefix(request: Request) -> str:
    """Return the path that these pages are mounted under."""
    return str(request.scope.get("root_path", ""))


def path_of(request: Request, conn_id: str) -> str:
    """Return the path of a connection's page."""
    return f"{prefix(request)}/connections/{quote(conn_id, safe='')}"


def origin(url: str) -> str:
    """Return scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _headers(referrer: str) -> dict[str, str]:
    return {
        "Cache-Control": "no-store",
        "Referrer-Policy": referrer,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }


def standing(state: LoginState, now: datetime) -> str:
    """Return in one sentence how it is with a login."""
    by_itself = state.grant_type in _BY_ITSELF
    person = "press Authorize" if state.grant_type == "authorization_code" else "put a new one into Refresh token"
    if state.problem:
        return state.problem
    if not state.shared:
        return "Share login is off: each process logs in for itself, and nothing of it is stored."
    if state.renewed_at is None:
        first = "press Authorize" if state.grant_type == "authorization_code" else "the first request gets one"
        return f"No token yet: {first}."
    if state.valid_until is None or now < state.valid_until:
        return "The token is good."
    if state.refreshable_until is not None and now < state.refreshable_until:
        return "The token has ended; the next request refreshes it."
    return f"The token has ended: {'the next request gets another' if by_itself else person}."


def _moment(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _machine(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


_TEMPLATES.filters["moment"] = _moment
_TEMPLATES.filters["machine"] = _machine
_TEMPLATES.filters["in_path"] = lambda text: quote(text, safe="")
