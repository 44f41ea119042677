"""TokenManager: a valid token, now."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from datetime import datetime
from threading import Lock
from typing import Protocol

from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoAuthError,
    GofundoConnectionError,
    GofundoError,
)
from airflow_provider_gofundo.oauth.grants import Grant
from airflow_provider_gofundo.oauth.refusal import finished
from airflow_provider_gofundo.oauth.store import TokenStore
from airflow_provider_gofundo.oauth.token import Token, now

log = logging.getLogger(__name__)

# How often, and about how many seconds apart, to look for the token of the worker whose turn it is. Together longer
# than that worker's turn can last.
LOOKS, PAUSE = 120, 1.0

# Answers that are given before the server looks at the request: its refresh token has not been used.
_UNTOUCHED = (429, 503)


class Turn(Protocol):
    """Who may ask the server for a token; a `Lease` where workers share one."""

    def acquire(self) -> bool:
        """Try to make it ours."""

    def release(self) -> None:
        """Give it to others."""


class _Alone:
    """Nobody to share with: it is always our turn."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


class TokenManager:
    """
    Decides which token is good now.

    A token is used until it expires or the server refuses it. Then, in this order: what somebody else has put into
    the store meanwhile; one refresh, if the store's token has a refresh token that is believed alive; the grant of
    the connection. One thread of one worker asks; the others take what it got, its failure too.
    """

    def __init__(
        self,
        grant: Grant,
        store: TokenStore,
        *,
        turn: Turn | None = None,
        clock: Callable[[], datetime] = now,
        sleep: Callable[[float], None] = time.sleep,
        on_token: Callable[[Token], None] = lambda _: None,
    ) -> None:
        self._grant = grant
        self._store = store
        self._turn = turn or _Alone()
        self._clock = clock
        self._sleep = sleep
        self._on_token = on_token
        self._lock = Lock()
        self._current: Token | None = None
        self._failure: GofundoError | None = None
        self._failed_at = 0.0

    def token(self) -> Token:
        """Return a token that may be sent now."""
        token = self._current
        return token if token and token.usable(self._clock()) else self.renew(token)

    def renew(self, rejected: Token | None) -> Token:
        """Return a token other than the rejected one."""
        since = time.monotonic()
        with self._lock:
            if self._current and self._better(self._current, rejected):
                return self._current
            if self._failure and self._failed_at > since:
                raise self._failure.with_traceback(None)
            try:
                return self._use(self._renewed(rejected))
            except GofundoError as error:
                self._failure, self._failed_at = error, time.monotonic()
                raise

    def refresh(self) -> Token:
        """Replace the stored token now, though it may be good, so that its refresh token does not die unused."""
        with self._lock:
            return self._use(self._renewed(self._store.load()))

    def adopt(self, token: Token) -> None:
        """Keep a token that was got elsewhere, from a login in a browser."""
        with self._lock:
            self._store.save(token)
            self._use(token)

    def state(self) -> Token | None:
        """Return what the store holds, good or not."""
        return self._store.load()

    def _use(self, token: Token) -> Token:
        self._on_token(token)
        self._current = token
        return token

    def _better(self, token: Token | None, rejected: Token | None) -> bool:
        if token is None or (rejected and token.access_token == rejected.access_token):
            return False
        return token.usable(self._clock())

    def _renewed(self, rejected: Token | None) -> Token:
        for _ in range(LOOKS):
            stored = self._store.load()
            if stored and self._better(stored, rejected):
                return stored
            if self._turn.acquire():
                break
            self._sleep(PAUSE * random.uniform(0.5, 1.5))  # noqa: S311  # so that they do not all look at once
        # Whoever waited in vain asks without its turn: a token too many does no harm.
        try:
            stored = self._store.load()
            return stored if stored and self._better(stored, rejected) else self._obtained(stored)
        finally:
            self._turn.release()

    def _obtained(self, stored: Token | None) -> Token:
        chain = stored or self._grant.seed
        token = self._refreshed(chain) if chain and chain.refreshable(self._clock()) else None
        if token is None:
            token = self._grant.fetch()
        self._store.save(token)
        return token

    def _refreshed(self, chain: Token) -> Token | None:
        """
        Use the refresh token, once. None when that cannot have worked, or nobody knows.

        It is struck off the store before it is sent: should this process die, or the answer be lost, nobody sends
        it again. It comes back only where the server surely has not looked at it.
        """
        self._store.save(chain.spent())
        try:
            return self._grant.refresh(chain.refresh_token or "")
        except GofundoError as error:
            if _untouched(error):
                self._store.save(chain)
                raise
            reason = str(error)
        log.warning("The refresh token cannot be used any more. %s", reason)
        return None


def _untouched(error: GofundoError) -> bool:
    """Whether the refresh token still works after this error."""
    if isinstance(error, GofundoAuthError):
        return not finished(error)
    if isinstance(error, GofundoConnectionError):
        return not error.answer_lost
    return isinstance(error, GofundoApiError) and error.status in _UNTOUCHED
