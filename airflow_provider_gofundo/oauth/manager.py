"""TokenManager: a valid token, now."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from datetime import datetime
from threading import Lock

from tenacity import Retrying, stop_after_attempt, wait_fixed

from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoError,
    GofundoReauthorizationRequired,
    GofundoStorageError,
    without_frames,
)
from airflow_provider_gofundo.oauth.grants import Grant
from airflow_provider_gofundo.oauth.lease import Alone, Turn
from airflow_provider_gofundo.oauth.queue import Queue
from airflow_provider_gofundo.oauth.refusal import PASSING, untouched
from airflow_provider_gofundo.oauth.store import TokenStore
from airflow_provider_gofundo.oauth.token import Token, now

log = logging.getLogger(__name__)

# Seconds between two offers of a token to a store that fails.
PAUSE = 1.0

# Seconds that a person who has just logged in waits for another's turn; their login is newer in any case.
PATIENCE = 5.0

# How often a token is offered to the store before this process keeps it to itself.
SAVES = 3

# Digests of the refresh tokens that this process has used up.
_used_up: set[bytes] = set()


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
        sleep: Callable[[float], None] | None = None,
        on_token: Callable[[Token], None] = lambda _: None,
    ) -> None:
        self._grant = grant
        self._store = store
        self._queue = Queue(turn or Alone(), sleep=sleep)
        self._clock = clock
        self._on_token = on_token
        self._lock = Lock()
        self._current: Token | None = None
        self._own: Token | None = None
        self._unsaved: Token | None = None
        self._failure: GofundoError | None = None
        self._failed_at = 0.0

    @without_frames
    def token(self) -> Token:
        """Return a token that may be sent now."""
        token = self._current
        return token if token and token.usable(self._clock()) else self.renew(token)

    @without_frames
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

    @without_frames
    def refresh(self) -> Token:
        """Replace the stored token now, though it may be good, so that its refresh token does not die unused."""
        with self._lock:
            return self._use(self._renewed(self._load()))

    @without_frames
    def adopt(self, token: Token) -> None:
        """Keep a token that was got elsewhere, from a login in a browser."""
        with self._lock:
            self._use(token)
            self._queue.wait(lambda: None, patience=PATIENCE)
            try:
                self._unsaved = None
                self._store.save(token)
            finally:
                self._queue.leave()

    def is_own(self, token: Token) -> bool:
        """Whether this process got the token from the server itself, rather than from another worker."""
        return token == self._own

    @without_frames
    def is_replaced(self, token: Token) -> bool:
        """Whether its chain has gone on since, or is just going on: then the server has revoked it for that."""
        with self._lock:
            stored = self._load()
        if token.refresh_token is None:
            return False
        return stored is None or stored.refresh_token != token.refresh_token

    def stop(self) -> None:
        """
        End the waits for others, and a login under way; GofundoStopped. There is no way back.

        Not what uses something up, such as a refresh: its answer may hold the only token there is.
        """
        self._queue.stop()
        self._grant.stop()

    def state(self) -> Token | None:
        """Return what the store holds, good or not."""
        return self._load()

    def _load(self) -> Token | None:
        return self._unsaved or self._store.load()

    def _use(self, token: Token) -> Token:
        self._on_token(token)
        self._current = token
        return token

    def _better(self, token: Token | None, rejected: Token | None) -> bool:
        if token is None or (rejected and token.access_token == rejected.access_token):
            return False
        return token.usable(self._clock())

    def _renewed(self, rejected: Token | None) -> Token:
        newer = self._queue.wait(lambda: self._newer(rejected))
        if newer:
            return newer
        try:
            stored = self._load()
            return stored if stored and self._better(stored, rejected) else self._obtained(stored, rejected)
        finally:
            self._queue.leave()

    def _newer(self, rejected: Token | None) -> Token | None:
        """What somebody has put into the store meanwhile, if it is better."""
        stored = self._load()
        return stored if self._better(stored, rejected) else None

    def _obtained(self, stored: Token | None, rejected: Token | None) -> Token:
        chain = stored or self._grant.seed
        why = ""
        if chain and chain.refreshable(self._clock()):
            token, why = self._refreshed(chain)
            if token is None:
                # Should another worker have used it after all, its token is there by now.
                newer = self._store.load()
                if newer and self._better(newer, rejected):
                    return newer
            elif self._has_been_replaced(chain):
                log.warning("Somebody has logged in meanwhile; that login stays.")
                return token
        else:
            token = None
        if token is None:
            token = self._fetched(why)
        self._own = token
        self._on_token(token)
        self._keep(token)
        return token

    def _fetched(self, why: str) -> Token:
        try:
            return self._grant.fetch()
        except GofundoReauthorizationRequired as error:
            text = f"{error} {why}".strip()
        raise GofundoReauthorizationRequired(text)

    def _refreshed(self, chain: Token) -> tuple[Token | None, str]:
        """
        Use the refresh token, once. None and the reason when that cannot have worked, or nobody knows.

        It is struck off the store before it is sent: should this process die, or the answer be lost, nobody sends
        it again. It comes back only where the server surely has not looked at it.
        """
        secret = chain.refresh_token or ""
        digest = hashlib.sha256(secret.encode()).digest()
        if digest in _used_up:
            return None, "Its refresh token has been used."
        self._store.save(chain.spent())
        self._unsaved = None
        if self._store.load() != chain.spent():
            raise GofundoStorageError(
                "The login cannot be written: something else, such as a secrets backend, answers for its Variable."
            )
        _used_up.add(digest)
        try:
            return self._grant.refresh(secret), ""
        except GofundoError as error:
            if untouched(error):
                _used_up.discard(digest)
                if not self._has_been_replaced(chain):
                    self._keep(chain)
                if isinstance(error, GofundoApiError) and error.status in PASSING and error.retry_in is None:
                    error.retry_in = 0.0
                raise
            why = str(error)
        log.warning("The refresh token cannot be used any more. %s", why)
        return None, why

    def _has_been_replaced(self, chain: Token) -> bool:
        """Whether somebody has put another login where this chain was struck off; not known is no."""
        try:
            return self._store.load() != chain.spent()
        except GofundoStorageError:
            return False

    def _keep(self, token: Token) -> None:
        """Store a token; where that fails for good, this process keeps it, for it may be the only one there is."""
        try:
            Retrying(stop=stop_after_attempt(SAVES), wait=wait_fixed(PAUSE), sleep=self._queue.pause, reraise=True)(
                self._store.save, token
            )
        except GofundoStorageError as error:
            self._unsaved = token
            log.warning("%s Only this process has it now.", error)
        else:
            self._unsaved = None
