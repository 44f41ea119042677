"""Refusal: what the token endpoint means by its error codes, and what to do about each."""

from __future__ import annotations

import msgspec
import requests

from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoAuthError,
    GofundoConnectionError,
    GofundoError,
    GofundoResponseError,
)

_CLIENT = "Gofundo's screen Instellingen > API-koppeling"

# Answers that pass, given before the server looks at the request.
PASSING = (429, 503)

_USER = "Username or User password is wrong; try that e-mail address and password on Gofundo's own login page."

# By grant and `error`, then by `error` alone. Never by the class that oauthlib raises for a code: it takes the
# first one with that code. League 8 answers a wrong secret, a client that may not use the grant and a redirect URI
# that is not registered with the same invalid_client, so its advice names them all.
_ADVICE = {
    "invalid_client": (
        f"Compare Client ID and Client Secret with {_CLIENT}; the client may also have been revoked, or may not use "
        "the grant (Grant type)."
    ),
    ("password", "invalid_client"): (
        f"Compare Client ID and Client Secret with {_CLIENT}; if they are right, this client may not use the "
        "password grant."
    ),
    ("authorization_code", "invalid_client"): (
        f"Compare Client ID, Client Secret and Redirect URI with {_CLIENT}: all three have to be as they are there."
    ),
    "unauthorized_client": (
        f"This client may not use the grant; change Grant type, or make another client in {_CLIENT}."
    ),
    "unsupported_grant_type": "The server does not know this grant; change Grant type.",
    "invalid_scope": f"The server does not know the scope; empty Scope, or name one of the client's in {_CLIENT}.",
    ("password", "invalid_grant"): _USER,
    "invalid_grant": "The server does not accept this login; check the fields of the grant.",
    "invalid_credentials": _USER,
    (
        "authorization_code",
        "invalid_grant",
    ): "The code was used before, is too old, or is not of this login; begin again.",
    ("authorization_code", "invalid_request"): (
        "The code was used before, is too old, or Redirect URI is not the registered one; "
        f"compare it with {_CLIENT}, and begin again."
    ),
    ("refresh_token", "invalid_grant"): "The refresh token is finished: used before, expired, or of another client.",
    (
        "refresh_token",
        "invalid_request",
    ): "The refresh token is finished: used before, expired, or of another client.",
    "invalid_request": "The server misses a parameter; check Client ID and Client Secret.",
}


class _ErrorAnswer(msgspec.Struct):
    error: str
    hint: str | None = None


def refusal(response: requests.Response, grant_type: str, *, login: str) -> GofundoAuthError | None:
    """
    Read an error answer (RFC 6749, 5.2); None when the answer is none.

    `login` is the grant type that the connection names, which a refresh is not.
    """
    if response.ok or response.status_code == 429 or response.status_code >= 500:
        return None
    try:
        body = msgspec.json.decode(response.content, type=_ErrorAnswer)
    except (msgspec.DecodeError, RecursionError):
        return None
    advice = _ADVICE.get((grant_type, body.error)) or _ADVICE.get(body.error)
    # A code that is not known here could be anything, and is not shown.
    known = f"({body.error}). {advice}" if advice else "with a code of its own; the exception's `error` holds it."
    return GofundoAuthError(
        f"The server refuses the {login} login {known}",
        error=body.error,
        hint=body.hint,
        status=response.status_code,
    )


def finished(refusal: GofundoAuthError) -> bool:
    """Whether the refusal of a refresh means that this refresh token will never work again."""
    return refusal.error == "invalid_grant" or (refusal.error == "invalid_request" and refusal.status == 401)


def untouched(error: GofundoError) -> bool:
    """Whether the refresh token still works after this error: the server has not looked at it, or says so."""
    if isinstance(error, GofundoAuthError):
        return not finished(error)
    if isinstance(error, GofundoConnectionError):
        return not error.answer_lost
    status = error.status if isinstance(error, (GofundoApiError, GofundoResponseError)) else None
    return status in PASSING or (status is not None and 300 <= status < 500)
