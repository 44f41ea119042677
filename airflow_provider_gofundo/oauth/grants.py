"""Grants: the ways of RFC 6749 to get a token, over requests-oauthlib."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

import msgspec
import requests
from oauthlib.oauth2 import BackendApplicationClient, Client

from airflow_provider_gofundo.answer import decode, require_success
from airflow_provider_gofundo.exceptions import (
    GofundoAuthError,
    GofundoConfigError,
    GofundoConnectionError,
    GofundoError,
)
from airflow_provider_gofundo.oauth.token import Token, now
from airflow_provider_gofundo.settings import Settings
from airflow_provider_gofundo.transport import ApiSession

TOKEN_PATH = "oauth/token"  # noqa: S105  # a path, no secret

_WHERE = "in Gofundo under Instellingen > API-koppeling"

# By `error` alone: the class that oauthlib raises for a code is not to be relied on.
_ADVICE = {
    "invalid_client": f"Compare Client ID and Client Secret with the client {_WHERE}; it may have been revoked.",
    "unauthorized_client": f"This client may not use the grant; make one that may, {_WHERE}, or change Grant type.",
    "unsupported_grant_type": "The server does not know the grant; change Grant type.",
    "invalid_scope": "The server does not know the scope; empty Scope, or ask for one that the client has.",
    "invalid_request": "The server found a parameter missing or wrong; check Client ID and Client Secret.",
}


class Grant(Protocol):
    """One way to get a token."""

    def fetch(self) -> Token:
        """Ask the server for a token; GofundoAuthError when it refuses."""


class ClientCredentialsGrant:
    """RFC 6749, 4.4: the client logs in as itself. Never comes with a refresh token."""

    def __init__(self, settings: Settings, *, clock: Callable[[], datetime] = now) -> None:
        self._settings = settings
        self._clock = clock

    def fetch(self) -> Token:
        """Ask the server for a token; asking twice does no harm."""
        return ask(BackendApplicationClient(self._settings.client_id), self._settings, clock=self._clock)


def grant_for(settings: Settings) -> Grant:
    """Return the grant that the connection names."""
    if settings.grant_type != "client_credentials":
        raise GofundoConfigError(f"Grant type {settings.grant_type} is not available in this version.")
    return ClientCredentialsGrant(settings)


def ask(client: Client, settings: Settings, *, clock: Callable[[], datetime], **parameters: Any) -> Token:
    """
    POST to the token endpoint, in a session of its own, so that nothing that happens here touches a token in use.

    Errors come out without the request and its frames, in which the secrets are.
    """
    if settings.scope:
        parameters["scope"] = settings.scope
    issued_at = clock()
    tokens: list[Token] = []

    def check(response: requests.Response) -> requests.Response:
        """Look at the answer before oauthlib does, which makes one error of everything that is no token."""
        tokens.append(Token.from_answer(_token_answer(response), issued_at=issued_at))
        return response

    failure: GofundoError
    with ApiSession(settings, client=client) as session:
        session.register_compliance_hook("access_token_response", check)
        try:
            session.fetch_token(
                f"https://{settings.base_url.partition('://')[2]}/{TOKEN_PATH}",
                include_client_id=True,
                client_secret=settings.client_secret,
                **parameters,
            )
            return tokens[0]
        except GofundoConnectionError as error:
            failure = error
            if error.answer_lost:
                failure.retry_in = 0.0
        except GofundoError as error:
            failure = error
    raise failure.with_traceback(None)


def _token_answer(response: requests.Response) -> dict[str, Any]:
    asked: dict[str, Any] = {"method": "POST", "path": TOKEN_PATH, "idempotent": True}
    refusal = None if response.ok else _refusal(response)
    if refusal:
        raise refusal
    require_success(response, **asked)
    return decode(response, dict[str, Any], **asked)


def _refusal(response: requests.Response) -> GofundoAuthError | None:
    """Read an error answer (RFC 6749, 5.2); league 8 and 9 differ in status and in which code they send."""
    try:
        body = msgspec.json.decode(response.content, type=_ErrorAnswer)
    except msgspec.DecodeError:
        return None
    return GofundoAuthError(
        f"The server refuses the login: {body.error}. {_ADVICE.get(body.error, '')}".strip(),
        error=body.error,
        hint=body.hint,
        status=response.status_code,
    )


class _ErrorAnswer(msgspec.Struct):
    error: str
    hint: str | None = None
