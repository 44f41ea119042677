"""Answer: what an HTTP answer of the server means, as a value or as one of our errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import msgspec
import requests

from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoAuthError,
    GofundoError,
    GofundoRateLimitError,
    GofundoResponseError,
)

T = TypeVar("T")

# Seconds that a server may ask to wait; one that asks for more is asked again then.
LONGEST_WAIT = 3600.0

_SHOWN = re.compile(r"[\w/.+ -]{1,80}", re.ASCII)
_FIELD = re.compile(r"[A-Za-z_]\w{0,60}", re.ASCII)

_ADVICE = {
    400: "The server found it malformed; check query_params and json.",
    403: "The token is good but may not do this; check the client's rights in Gofundo, and Scope.",
    404: "There is nothing here; check endpoint, and Host in the connection.",
    405: "The endpoint does not know this method.",
    409: "It conflicts with what the server has.",
    413: "The body is too large for the server.",
    422: "The server rejects a value, and does not say which; check query_params and json.",
    429: "Too many requests.",
    503: "The server is down for maintenance or overloaded.",
}


def require_success(response: requests.Response, *, method: str, path: str, idempotent: bool) -> None:
    """
    Raise the error that the status stands for, unless it is 2xx.

    A 429 is given before the application has done anything, so it may be repeated whatever the method; a 5xx may
    come after, so only an idempotent request may.
    """
    status = response.status_code
    if 200 <= status < 300:
        return
    body = _object(response.content)
    message = body.get("message")
    errors = _messages_by_field(body.get("errors"))
    transient = status == 429 or (status >= 500 and idempotent)
    at = datetime.now(timezone.utc)
    wait = retry_after(response.headers, at=at)
    if wait is None and status == 429:
        wait = rate_reset(response.headers, at=at)
    kind = GofundoRateLimitError if status == 429 else GofundoApiError
    raise kind(
        f"{method} {path} answered {status}. {_advice(status, errors)}{_asked(wait)}",
        status=status,
        method=method,
        path=path,
        message=message if isinstance(message, str) else "",
        errors=errors,
        retry_in=(wait or 0.0) if transient else None,
    )


def unauthenticated(method: str, path: str, grant_type: str, *, ours: bool) -> GofundoError:
    """Return the error for a second 401; `ours` says that this process has minted that token, the newest."""
    if not ours:
        return GofundoApiError(
            f"{method} {path} answered 401 twice: the token that had just been got was revoked as well.",
            status=401,
            method=method,
            path=path,
            retry_in=0.0,  # whatever the method: nobody was let in
        )
    advice = (
        "It may need a user, which client_credentials has not: then use another Grant type."
        if grant_type == "client_credentials"
        else "The user of this connection may have no access to it."
    )
    return GofundoAuthError(f"{method} {path} answered 401, also with a token minted just now. {advice}", status=401)


def decode(
    response: requests.Response, kind: type[T], *, method: str, path: str, idempotent: bool
) -> T:  # fmt: skip
    """
    Return the body as JSON of that type.

    GofundoResponseError says what came instead: its media type and length, never its content. JSON that breaks
    off was damaged on the way, so an idempotent request may be repeated.
    """
    body = response.content
    try:
        if not body.isascii():
            body.decode()  # msgspec passes raw slices on without a look at their encoding
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError:
        fault, damaged = "JSON of another shape", False
    except RecursionError:
        fault, damaged = "JSON that is nested too deeply", False
    except (msgspec.DecodeError, UnicodeDecodeError):
        damaged = is_json(response)
        fault = "broken JSON" if damaged else "no JSON"
    media_type = _media_type(response) or "no content type"
    if not _SHOWN.fullmatch(media_type):
        media_type = "an odd content type"
    raise GofundoResponseError(
        f"{method} {path} answered {response.status_code} with {fault}: {media_type}, {len(body):,} bytes. "
        + ("It was damaged on the way." if damaged else "Check endpoint, and Host in the connection."),
        status=response.status_code,
        method=method,
        path=path,
        retry_in=0.0 if damaged and idempotent else None,
    )


def is_json(response: requests.Response) -> bool:
    """Whether the answer calls itself JSON."""
    media_type = _media_type(response)
    return media_type == "application/json" or media_type.endswith("+json")


def retry_after(headers: Mapping[str, str], *, at: datetime) -> float | None:
    """
    Return the seconds that Retry-After asks to wait, given as seconds or as a date (RFC 9110, 10.2.3).

    An hour at most. None when the header is missing or unreadable. A date is counted from the server's own clock,
    its Date header, where it sent one.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_WAIT)
    return _from_now(_date(value), headers, at)


def rate_reset(headers: Mapping[str, str], *, at: datetime) -> float | None:
    """Return the seconds until X-RateLimit-Reset, which is in Unix time; None as above."""
    value = headers.get("X-RateLimit-Reset", "").strip()
    if not (value.isascii() and value.isdigit() and len(value) < 12):
        return None
    return _from_now(datetime.fromtimestamp(int(value), timezone.utc), headers, at)


def _from_now(until: datetime | None, headers: Mapping[str, str], at: datetime) -> float | None:
    if until is None:
        return None
    return min(max(0.0, (until - (_date(headers.get("Date", "")) or at)).total_seconds()), LONGEST_WAIT)


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)


def _media_type(response: requests.Response) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return {}


def _messages_by_field(errors: object) -> dict[str, list[str]]:
    if not isinstance(errors, dict):
        return {}
    return {
        str(name): [str(text) for text in (texts if isinstance(texts, list) else [texts])]
        for name, texts in errors.items()
    }


def _advice(status: int, errors: Mapping[str, Any]) -> str:
    # The keys of lists and objects in the data stand behind the first dot.
    fields = sorted({field for name in errors if _FIELD.fullmatch(field := name.partition(".")[0])})
    if fields:
        return (
            f"It rejects {', '.join(fields[:10])}; the exception's `errors` holds the server's own words, "
            "which may quote the data."
        )
    return _ADVICE.get(status) or (
        "The server failed." if status >= 500 else "The server does not accept the request."
    )


def _asked(wait: float | None) -> str:
    return f" It asks to wait {wait:.0f} s." if wait else ""
