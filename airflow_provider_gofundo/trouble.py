"""Trouble: why there is no answer, in our own words. The libraries' words may hold the URL and its query."""

from __future__ import annotations

import re
import ssl
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidHeader,
    LocationValueError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as UrlTimeout

from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoConnectionError, GofundoResponseError
from airflow_provider_gofundo.settings import Settings

# What may be shown of the path of a redirect: what looks like a route, and nothing that may be somebody's name.
_HOST = re.compile(r"[a-z0-9.:\[\]_-]*", re.IGNORECASE)
_ROUTE = re.compile(r"[a-z0-9/_-]*", re.IGNORECASE)


def explain(
    error: HTTPError | OSError, method: str, path: str, settings: Settings
) -> GofundoConnectionError | GofundoConfigError:
    """
    Return the error that stands for a failed exchange.

    `retry_in` is set where nothing was sent. In all other cases the server may have done what it was asked.
    """
    host = f"{settings.base_url} ({method} {path})"
    reason = error.reason if isinstance(error, MaxRetryError) else error
    if isinstance(reason, (InvalidHeader, LocationValueError)):
        return GofundoConfigError(f"{method} {path} cannot be sent: a header or the URL is malformed.")
    if reason and any(isinstance(argument, ssl.SSLCertVerificationError) for argument in reason.args):
        return GofundoConnectionError(
            f"TLS with {host} failed: its certificate is not trusted here. Check Host, or name the private CA in "
            "CA bundle."
        )
    if isinstance(reason, NameResolutionError):
        return GofundoConnectionError(f"No such host: {host}. Check Host in the connection.", retry_in=0)
    if isinstance(reason, (ConnectTimeoutError, NewConnectionError)):
        return GofundoConnectionError(f"Cannot connect to {host}. Check Host and Port.", retry_in=0)
    if isinstance(reason, ProxyError):
        # urllib3 says so of an answer that was lost behind a proxy as well.
        inner = reason.original_error
        refused = isinstance(inner, (ConnectTimeoutError, NewConnectionError)) or "Tunnel connection" in str(inner)
        text = f"The proxy on the way to {host} failed. Check HTTPS_PROXY."
        return GofundoConnectionError(text, retry_in=0 if refused else None, answer_lost=not refused)
    if isinstance(reason, SSLError):
        happened = "TLS broke off, or is not spoken there (a sandbox on this machine wants http://), with"
    elif isinstance(reason, UrlTimeout):
        happened = f"No answer within {settings.timeout:g} s from"
    else:
        happened = "Cut off by"
    return GofundoConnectionError(f"{happened} {host}.", answer_lost=True)


def no_way(method: str, path: str, settings: Settings) -> GofundoConfigError:
    """Return the error for a proxy or a CA that cannot be used at all. Their addresses may hold a password."""
    return GofundoConfigError(
        f"There is no way to {settings.base_url} ({method} {path}): the proxy in HTTPS_PROXY or ALL_PROXY is no "
        "usable address (SOCKS needs requests[socks]), or the file in CA bundle or REQUESTS_CA_BUNDLE is not there."
    )


def redirected(response: requests.Response, method: str, path: str) -> GofundoResponseError:
    """Return the error for an answer that points elsewhere."""
    return GofundoResponseError(
        f"{method} {path} was redirected to {_where(response)} ({response.status_code}), which is not followed. "
        "Use the API's own endpoint, and its own address as Host in the connection.",
        status=response.status_code,
        method=method,
        path=path,
    )


def _where(response: requests.Response) -> str:
    try:
        target = urlsplit(response.headers.get("Location", ""))
    except ValueError:
        return "what is no address"
    host = target.netloc.rpartition("@")[2]
    if not _HOST.fullmatch(host):
        return "what is no address"
    route = target.path if _ROUTE.fullmatch(target.path) else f"/{target.path.split('/')[1]}/…"
    if not _ROUTE.fullmatch(route.removesuffix("/…")):
        route = "/…"
    return f"{target.scheme or 'https'}://{host}{route}" if host else route
