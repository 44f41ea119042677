"""GofundoClient: one request, authorised, paced, retried and checked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

import msgspec
import requests

from airflow_provider_gofundo.answer import decode, is_json, require_success
from airflow_provider_gofundo.client.query import encode
from airflow_provider_gofundo.client.rate import Pace
from airflow_provider_gofundo.client.retry import retry_policy
from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoAuthError,
    GofundoConfigError,
    GofundoConnectionError,
    GofundoError,
    without_frames,
)
from airflow_provider_gofundo.oauth.manager import TokenManager
from airflow_provider_gofundo.oauth.token import Token, now
from airflow_provider_gofundo.settings import Settings
from airflow_provider_gofundo.transport import ApiSession, resolve, shown_path

T = TypeVar("T")

# RFC 9110, 9.2.2: repeating these does no more than doing them once.
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


@dataclass(frozen=True)
class Traffic:
    """What a client has sent so far, logins aside: requests, how many followed a wait, and seconds waited."""

    requests: int = 0
    retries: int = 0
    waited: float = 0.0


class GofundoClient:
    """
    Sends requests to one Gofundo server on behalf of one connection. Safe to use from several threads.

    `sleep` is what it waits with.
    """

    def __init__(
        self, settings: Settings, tokens: TokenManager, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.settings = settings
        self.tokens = tokens
        self._session = ApiSession(settings)
        self._pace = Pace(settings.requests_per_minute, sleep=sleep)
        self._retry = retry_policy(settings.max_attempts, sleep=sleep, on_wait=self._count_wait)
        self._lock = Lock()
        self._traffic = Traffic()

    @property
    def traffic(self) -> Traffic:
        """What has been sent so far."""
        return self._traffic

    def __enter__(self) -> GofundoClient:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections to the server; the next request would open new ones."""
        self._session.close()

    @without_frames
    def session(self) -> ApiSession:
        """Return a session of its own that sends a token good now. It neither retries nor renews."""
        token = self._retry(self.tokens.token)
        return ApiSession(self.settings, token={"access_token": token.access_token, "token_type": "Bearer"})

    @without_frames
    def refresh_login(self) -> Token:
        """Refresh the token now, though it may still be good, and return the new one."""
        return self._retry(self.tokens.refresh)

    @without_frames
    def request(
        self,
        method: str,
        endpoint: str,
        *,
        query_params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """
        Send one request and return its answer, which is 2xx; any other is an error.

        `endpoint` is a path below the connection's Host. An answer with a body is JSON, unless `headers` ask for
        something else than JSON with Accept.
        """
        accept = requests.structures.CaseInsensitiveDict(headers or {}).get("Accept") or "application/json"
        read = _as_json if "json" in accept else _as_it_is
        return self.fetch(method, endpoint, read, query_params=query_params, json=json, headers=headers)

    @without_frames
    def fetch(
        self,
        method: str,
        endpoint: str,
        read: Callable[[requests.Response, str, str], T],
        *,
        query_params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Send one request and return what `read(answer, method, path)` makes of it, or raise what it raises."""
        method = method.upper()
        url = resolve(self.settings.base_url, endpoint)
        path = shown_path(url)
        if any(name.lower() == "authorization" for name in headers or {}):
            raise GofundoConfigError("headers may not hold Authorization: the connection's token is sent.")
        options = {"params": encode(query_params), "json": json, "headers": dict(headers or {})}
        minted: Token | None = None  # for this request, by this process

        def attempt() -> T:
            nonlocal minted
            token = self.tokens.token()
            answer = self._send(method, url, token, options)
            if answer.status_code == 401 and token != minted:
                asked_at = now()
                token = self.tokens.renew(token)
                minted = token if self.tokens.is_own(token) and token.issued_at >= asked_at else minted
                answer = self._send(method, url, token, options)
            if answer.status_code == 401:
                raise _unauthenticated(method, path, self.settings.grant_type, ours=token == minted)
            require_success(answer, method=method, path=path, idempotent=method in IDEMPOTENT)
            return read(answer, method, path)

        return self._retry(attempt)

    @without_frames
    def _send(self, method: str, url: str, token: Token, options: Mapping[str, Any]) -> requests.Response:
        self._pace.wait()
        self._count(requests=1)
        headers = {**options["headers"], "Authorization": f"Bearer {token.access_token}"}
        try:
            response = self._session.request(
                method, url, params=options["params"], json=options["json"], headers=headers
            )
        except GofundoConnectionError as error:
            if error.answer_lost and method in IDEMPOTENT:
                error.retry_in = 0.0
            raise
        # The answer may be kept, pickled, or shown by whoever gets it.
        response.request.headers.pop("Authorization", None)
        return response

    def _count_wait(self, seconds: float) -> None:
        self._count(retries=1, waited=seconds)

    def _count(self, *, requests: int = 0, retries: int = 0, waited: float = 0.0) -> None:
        with self._lock:
            seen = self._traffic
            self._traffic = Traffic(seen.requests + requests, seen.retries + retries, seen.waited + waited)


def _unauthenticated(method: str, path: str, grant_type: str, *, ours: bool) -> GofundoError:
    if not ours:
        return GofundoApiError(
            f"{method} {path} answered 401 twice: the token that another worker had just got was revoked as well.",
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


def _as_it_is(response: requests.Response, _method: str, _path: str) -> requests.Response:
    return response


def _as_json(response: requests.Response, method: str, path: str) -> requests.Response:
    if method != "HEAD" and (response.content or is_json(response)):
        decode(response, msgspec.Raw, method=method, path=path, idempotent=method in IDEMPOTENT)
    return response
