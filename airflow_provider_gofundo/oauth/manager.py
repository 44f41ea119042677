"""TokenManager: a valid token, now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from threading import Lock

from airflow_provider_gofundo.oauth.grants import Grant
from airflow_provider_gofundo.oauth.store import TokenStore
from airflow_provider_gofundo.oauth.token import Token, now


class TokenManager:
    """
    Decides which token is good now: the stored one, or a new one of the connection's own grant.

    A token is used until it expires or the server refuses it. While one thread asks for a new one the others
    wait, and take what it got.
    """

    def __init__(self, grant: Grant, store: TokenStore, *, clock: Callable[[], datetime] = now) -> None:
        self._grant = grant
        self._store = store
        self._clock = clock
        self._lock = Lock()

    def token(self) -> Token:
        """Return a token that may be sent now."""
        token = self._store.load()
        return token if token and token.usable(self._clock()) else self.renew(token)

    def renew(self, rejected: Token | None) -> Token:
        """Return a token other than the rejected one: somebody else's newer one, or a new one."""
        with self._lock:
            token = self._store.load()
            if token and token != rejected and token.usable(self._clock()):
                return token
            token = self._grant.fetch()
            self._store.save(token)
            return token
