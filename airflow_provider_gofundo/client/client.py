"""GofundoClient: one request, authorised, paced, retried and checked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import msgspec
import requests

from airflow_provider_gofundo.address import resolve, shown_path
from airflow_provider_gofundo.answer import decode, is_json, require_success, unauthenticated
from airflow_provider_gofundo.client.errand import Errand
from airflow_provider_gofundo.client.query import encode
from airflow_provider_gofundo.client.rate import Pace, Told, shared_pace
from airflow_provider_gofundo.client.retry import retry_policy
from airflow_provider_gofundo.exceptions import (
    GofundoConfigError,
    GofundoConnectionError,
    without_frames,
)
from airflow_provider_gofundo.oauth.manager import TokenManager
from airflow_provider_gofundo.oauth.token import Token, now
from airflow_provider_gofundo.settings import Settings
from airflow_provider_gofundo.transport import ApiSession

T = TypeVar("T")

log = logging.getLogger(__name__)

# Seconds of waiting from which on the log says so.
WORTH_TELLING = 5

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

    `sleep` waits in place of the clock, and `pace` is kept to in place of the one that this connection's clients in
    this process share.
    """

    def __init__(
        self,
        settings: Settings,
        tokens: TokenManager,
        *,
        sleep: Callable[[float], None] | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.settings = settings
        self.tokens = tokens
        self._session = ApiSession(settings)
        self._pace = pace or shared_pace(settings)
        policy = partial(retry_policy, settings.max_attempts, on_wait=self._count_wait)
        self._errand = Errand(policy, sleep)  # all that this client does
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

    def stop(self) -> None:
        """
        End everything that is under way, in whatever thread, with GofundoStopped. There is no way back.

        Takes no lock that a request holds, so that a signal handler may call it.
        """
        self._errand.end()
        self.tokens.stop()
        self._session.abort()

    def errand(self) -> AbstractContextManager[Errand]:
        """An errand for `fetch`, over at the end of its block, so that nothing waits for what nobody wants."""
        return self._errand.part()

    def within(self, errand: Errand) -> GofundoClient:
        """Return this client, but that all it does is part of an errand."""
        other = copy(self)
        other._errand = errand
        return other

    @without_frames
    def ready(self, endpoint: str, query_params: Mapping[str, Any], errand: Errand) -> None:
        """Have a token that is good now, for requests to this endpoint, which is checked first."""
        resolve(self.settings.base_url, endpoint)
        encode(query_params)
        errand.pause()
        errand.retry(self.tokens.token)

    @without_frames
    def session(self) -> ApiSession:
        """Return a session of its own that sends a token good now. It neither retries nor renews."""
        token = self._errand.retry(self.tokens.token)
        return ApiSession(self.settings, token={"access_token": token.access_token, "token_type": "Bearer"})

    @without_frames
    def refresh_login(self) -> Token:
        """Refresh the token now, though it may still be good, and return the new one."""
        return self._errand.retry(self.tokens.refresh)

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
        errand: Errand | None = None,
    ) -> T:
        """Send one request and return what `read(answer, method, path)` makes of it, or raise what it raises."""
        method = method.upper()
        url = resolve(self.settings.base_url, endpoint)
        path = shown_path(url)
        if any(name.lower() == "authorization" for name in headers or {}):
            raise GofundoConfigError("headers may not hold Authorization: the connection's token is sent.")
        options = {"params": encode(query_params), "json": json, "headers": dict(headers or {})}
        minted: Token | None = None  # for this request, by this process
        errand = errand or self._errand
        pause = errand.pause

        def attempt() -> T:
            nonlocal minted
            pause()
            token = self.tokens.token()
            answer = self._send(method, url, token, options, pause)
            if answer.status_code == 401 and token != minted:
                asked_at = now()
                token = self.tokens.renew(token)
                minted = token if self.tokens.is_own(token) and token.issued_at >= asked_at else minted
                answer = self._send(method, url, token, options, pause)
            if answer.status_code == 401:
                ours = token == minted and not self.tokens.is_replaced(token)
                raise unauthenticated(method, path, self.settings.grant_type, ours=ours)
            require_success(answer, method=method, path=path, idempotent=method in IDEMPOTENT)
            return read(answer, method, path)

        return errand.retry(attempt)

    @without_frames
    def _send(
        self, method: str, url: str, token: Token, options: Mapping[str, Any], pause: Callable[[float], None]
    ) -> requests.Response:
        ticket = self._pace.enter(partial(self._hold, pause))
        self._count(requests=1)
        headers = {**options["headers"], "Authorization": f"Bearer {token.access_token}"}
        response: requests.Response | None = None
        failure: GofundoConnectionError | None = None
        try:
            response = self._session.exchange(
                method, url, params=options["params"], json=options["json"], headers=headers
            )
        except GofundoConnectionError as error:
            failure = error
        finally:
            self._pace.leave(ticket, None if response is None else Told.by(response))
        if failure:
            pause(0)  # where that is why the answer is lost; out here, or it would carry the token along
            if failure.answer_lost and method in IDEMPOTENT:
                failure.retry_in = 0.0
            raise failure
        assert response is not None  # noqa: S101  # or there was a failure
        # The answer may be kept, pickled, or shown by whoever gets it.
        response.request.headers.pop("Authorization", None)
        return response

    def _hold(self, pause: Callable[[float], None], seconds: float) -> None:
        if seconds:
            self._count(waited=seconds)
        if seconds >= WORTH_TELLING:
            log.info("Waiting %.0f s: the server, or the connection, allows no more requests now.", seconds)
        pause(seconds)

    def _count_wait(self, seconds: float) -> None:
        self._count(retries=1, waited=seconds)

    def _count(self, *, requests: int = 0, retries: int = 0, waited: float = 0.0) -> None:
        with self._lock:
            seen = self._traffic
            self._traffic = Traffic(seen.requests + requests, seen.retries + retries, seen.waited + waited)


def _as_it_is(response: requests.Response, _method: str, _path: str) -> requests.Response:
    return response


def _as_json(response: requests.Response, method: str, path: str) -> requests.Response:
    if method != "HEAD" and (response.content or is_json(response)):
        decode(response, msgspec.Raw, method=method, path=path, idempotent=method in IDEMPOTENT)
    return response
