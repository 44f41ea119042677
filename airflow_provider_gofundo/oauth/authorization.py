"""Authorization: sending a person to the server's login page, and reading what the browser brings back."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from oauthlib.common import generate_token
from oauthlib.oauth2 import WebApplicationClient

from airflow_provider_gofundo.address import https_form
from airflow_provider_gofundo.exceptions import GofundoAuthError, GofundoConfigError
from airflow_provider_gofundo.settings import Settings

_DENIED = {
    "access_denied": "The login was declined in Gofundo; begin again and approve it.",
    "invalid_scope": "The server does not know the scope; empty Scope, or name one that the client has.",
}


@dataclass(frozen=True, kw_only=True)
class AuthorizationRequest:
    """
    One login on its way: the URL to open, and what proves afterwards that the answer belongs to it.

    Good for one exchange. Whoever has `state` and `code_verifier` can finish it, so keep it where the browser and
    the log cannot see it.
    """

    url: str = field(repr=False)
    state: str = field(repr=False)
    code_verifier: str = field(repr=False)


def begin(settings: Settings) -> AuthorizationRequest:
    """
    Prepare a login with PKCE S256 (RFC 7636) and a state (RFC 6749, 10.12).

    GofundoConfigError for a connection of another grant.
    """
    if settings.grant_type != "authorization_code":
        raise GofundoConfigError(
            f"Connection '{settings.conn_id}': Grant type is {settings.grant_type}; a login in a browser needs "
            "authorization_code."
        )
    client = WebApplicationClient(settings.client_id)
    verifier = client.create_code_verifier(96)
    state = generate_token(48)
    url = client.prepare_request_uri(
        https_form(f"{settings.base_url}/oauth/authorize"),
        redirect_uri=settings.redirect_uri,
        scope=settings.scope or None,
        state=state,
        code_challenge=client.create_code_challenge(verifier, "S256"),
        code_challenge_method="S256",
    )
    if not settings.scope:
        url += "&scope="  # Gofundo documents an empty scope, and oauthlib leaves an empty one out
    # oauthlib takes only https; what the browser opens is the connection's own Host.
    own = settings.base_url + url[len(https_form(settings.base_url)) :]
    return AuthorizationRequest(url=own, state=state, code_verifier=verifier)


def code_of(callback_url: str, request: AuthorizationRequest) -> str:
    """
    Return the code that the browser brought to the redirect URI.

    GofundoAuthError when the login was denied, or is not the one of this request.
    """
    query = {name: values[-1] for name, values in parse_qs(urlsplit(callback_url.strip(" \t\n'\"")).query).items()}
    error = query.get("error")
    if not query.keys() & {"code", "error"}:
        raise GofundoAuthError(
            "This address holds neither code nor error: it is not the one that the browser ended at, or not the "
            "whole of it. If the browser has not left Gofundo, compare Client ID, Redirect URI and the client's "
            "grants with Instellingen > API-koppeling."
        )
    # League 8 leaves the state out of some errors; they give nothing away and may come without.
    if error is None and not hmac.compare_digest(query.get("state", "").encode(), request.state.encode()):
        raise GofundoAuthError("This address belongs to another login: its state differs. Begin again.")
    if error is not None:
        known = error if error in _DENIED else None
        raise GofundoAuthError(_DENIED.get(error, "The server refused the login; begin again."), error=known)
    return query["code"]
