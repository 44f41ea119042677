"""Adapter: the one door to the network, at which everything that is sent leaves."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers, get_environ_proxies
from urllib3 import HTTPConnectionPool, ProxyManager, Timeout
from urllib3.exceptions import HTTPError

from airflow_provider_gofundo.address import host_of, https_form
from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoError, GofundoResponseError
from airflow_provider_gofundo.settings import Settings
from airflow_provider_gofundo.trouble import explain, no_way, redirected
from airflow_provider_gofundo.wires import Wires

# An exchange lasts this many times Timeout at most, and so many bytes of an answer are read.
PATIENCE, LARGEST = 10, 512 * 1024**2

# Bytes to take at once of what has arrived: most pages fit, and threads hand over to each other at every read.
GULP = 256 * 1024

# Variables that name the PEM file of a private CA, as requests knows them.
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

# Connections that may be kept open; so many requests may be under way at the same time.
MOST_AT_ONCE = 32


@functools.lru_cache(maxsize=64)
def prepared(url: str) -> str:
    """A URL without its query as requests writes it; this costs more than all the rest of a request."""
    request = requests.PreparedRequest()
    request.prepare_url(https_form(url), None)
    return str(request.url)


class ApiAdapter(HTTPAdapter):
    """
    Sends requests to the connection's own origin, and nothing to any other.

    requests-oauthlib refuses plain http unless a variable switches its check off for the whole process. A
    sandbox on loopback is therefore called https up to here, and http on the wire.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._origin = prepared(settings.base_url + "/")
        self._root = urlsplit(self._origin).path.rstrip("/")
        self._timeout = Timeout(connect=settings.timeout, read=settings.timeout)
        self._plain = settings.base_url.startswith("http://")
        # Asked for once, not for every request as requests does.
        self._proxies = {} if self._plain else get_environ_proxies(settings.base_url)
        self._verify = settings.ca_bundle or next(filter(None, map(os.environ.get, BUNDLES)), True)
        self._wires = Wires()
        self._pool: HTTPConnectionPool | None = None
        super().__init__(pool_connections=1, pool_maxsize=MOST_AT_ONCE)
        self._wires.watch(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> ProxyManager:
        """Return the pools of connections through a proxy, as HTTPAdapter makes them."""
        is_new = proxy not in self.proxy_manager
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        if is_new:
            self._wires.watch(manager)
        return manager

    def close(self) -> None:
        """Close the connections that are kept open, also where a failed exchange holds on to their pool."""
        self._pool = None
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118  # it does not iterate
                manager.pools[key].close()
        super().close()

    def abort(self) -> None:
        """
        Cut every connection, also in the middle of an exchange of another thread, which then fails at once.

        One that is being made is cut once it is made. The next ones are cut as well: there is no way back.
        """
        self._wires.cut()

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        """Send it, read the whole answer, and turn what went wrong into an error of ours."""
        method, url = str(request.method), str(request.url)
        if not url.startswith(self._origin):
            raise GofundoConfigError(
                f"Refused to call {host_of(url)}: the token goes to {self._settings.base_url} only."
            )
        below = url[len(self._origin) - 1 :]  # what follows the base URL
        path = (self._root + below).partition("?")[0].lstrip("/")
        failure: GofundoError | None = None
        try:
            pool = self._pool_for(request, options)
        except (OSError, ValueError):
            failure = no_way(method, path, self._settings)
        if failure:
            raise failure
        self._wires.patience.begin(PATIENCE * self._settings.timeout)
        try:
            # HTTPAdapter.send comes down to this call, and spends as much again on what is the same every time.
            raw = pool.urlopen(
                method,
                self._root + below,
                body=request.body,
                headers=request.headers,
                redirect=False,
                retries=self.max_retries,
                timeout=_timeout(options.get("timeout")) or self._timeout,
                chunked=request.body is not None and "Content-Length" not in request.headers,
                preload_content=False,
                decode_content=False,
            )
            response = _response(request, raw)
            response.url = self._settings.base_url + below
            if not response.is_redirect:
                _read(response, f"{method} {path}")
        except (HTTPError, OSError) as error:
            failure = explain(error, method, path, self._settings)
        # Raised out here: inside the except clause the error would carry the request and its secrets along.
        if failure:
            raise failure
        if response.is_redirect:
            response.close()
            raise redirected(response, method, path)
        return response

    def _pool_for(self, request: requests.PreparedRequest, options: Mapping[str, Any]) -> HTTPConnectionPool:
        """The connections to the one origin: looked up once, unless a caller of the session has wishes."""
        verify, cert, proxies = options.get("verify", True), options.get("cert"), options.get("proxies")
        usual = verify is True and not (cert or proxies)
        if usual and self._pool is not None:
            return self._pool
        if self._plain:
            pool = cast("HTTPConnectionPool", self.poolmanager.connection_from_url(self._settings.base_url))
        else:
            verify = self._verify if verify is True else verify
            way = self.get_connection_with_tls_context(request, verify, proxies=proxies or self._proxies, cert=cert)
            pool = cast("HTTPConnectionPool", way)
            self.cert_verify(pool, request.url, verify, cert)  # type: ignore[no-untyped-call]  # requests has no types
        if usual:
            self._pool = pool
        return pool


def _timeout(given: Timeout | float | tuple[float, float] | None) -> Timeout | None:
    """A timeout as a caller of the session may give it: for all, or for connecting and for reading."""
    if isinstance(given, Timeout):
        return given
    if not given:
        return None
    connect, read = given if isinstance(given, tuple) else (given, given)
    return Timeout(connect=connect, read=read)


def _response(request: requests.PreparedRequest, raw: Any) -> requests.Response:
    """What HTTPAdapter.build_response makes of an answer, but for cookies, which nobody here keeps."""
    response = requests.Response()
    response.status_code, response.reason = raw.status, raw.reason
    response.headers = CaseInsensitiveDict(raw.headers)
    response.encoding = get_encoding_from_headers(response.headers)
    response.request, response.raw = request, raw
    return response


def _read(response: requests.Response, what: str) -> None:
    """
    Read the whole answer, as it comes, and no more than is bearable.

    Here, so that a cut-off answer is one of our errors too. `raw.read1` returns what has arrived.
    """
    raw, size, chunks = response.raw, 0, []
    while chunk := raw.read1(GULP, decode_content=True):
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST:
            raw.close()
            raise GofundoResponseError(f"{what} answered more than {LARGEST >> 20} MB; ask for fewer records a page.")
    raw.release_conn()
    # What requests does once it has read an answer, without copying it in pieces of 10 kB.
    body = b"".join(chunks)
    response._content, response._content_consumed = body, True  # type: ignore[attr-defined]
    response.raw = io.BytesIO(body)
