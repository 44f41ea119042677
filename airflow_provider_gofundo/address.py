"""Address: the URL of an endpoint, which never leaves the connection's own server, and what of it may be shown."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from airflow_provider_gofundo.exceptions import GofundoConfigError

_ODD = re.compile(r"[\s\x00-\x1f\\]").search


def resolve(base_url: str, endpoint: str) -> str:
    """
    Return the URL of an endpoint, which is a path below the base URL, or that whole URL.

    GofundoConfigError when it points elsewhere or holds a query string.
    """
    if not isinstance(endpoint, str) or not endpoint.strip("/ "):
        raise GofundoConfigError("endpoint is empty; write a path such as api/donations.")
    for mine in (base_url, https_form(base_url)):
        if endpoint.startswith(mine + "/"):
            endpoint = endpoint[len(mine) :]
    if "://" in endpoint or endpoint.startswith("//"):
        raise GofundoConfigError(
            f"endpoint points to {host_of(endpoint)}, but the connection's Host is {base_url}; write a path."
        )
    if "?" in endpoint or "#" in endpoint:
        raise GofundoConfigError("endpoint holds a query string; put its parameters into query_params.")
    # requests sends %2e as a dot.
    if ".." in unquote(endpoint).split("/") or _ODD(endpoint):
        raise GofundoConfigError("endpoint is not a plain path; write it like api/donations.")
    return f"{base_url}/{endpoint.lstrip('/')}"


def shown_path(url: str | None) -> str:
    """The part of a URL that may be shown: its path, without host, query string and leading slash."""
    return urlsplit(url or "").path.lstrip("/")


def https_form(url: str) -> str:
    """What a URL is called up to the adapter: https, also where it is http on the wire."""
    return "https" + url[len("http") :] if url.startswith("http://") else url


def host_of(url: str | None) -> str:
    """The host of a URL, for a sentence."""
    return urlsplit(url or "").hostname or "another host"
