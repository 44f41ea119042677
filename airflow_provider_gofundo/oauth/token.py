"""Token: what the token endpoint gave, and how long it is good for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_gofundo.exceptions import GofundoResponseError

# A token this close to its end counts as ended, so that the expiry does not overtake a request on its way.
# Of a short-lived token it is a tenth of its life.
LEEWAY = timedelta(seconds=30)


def now() -> datetime:
    """Return the time, aware and in UTC."""
    return datetime.now(timezone.utc)


def _after(seconds: Any, start: datetime) -> datetime:
    try:
        return start + timedelta(seconds=int(seconds))
    except (TypeError, ValueError, OverflowError):
        pass
    raise GofundoResponseError("The token endpoint answered with an expires_in that is no number of seconds.")


@dataclass(frozen=True, kw_only=True)
class Token:
    """
    An access token and, where the server gave one, the refresh token that came with it; each with its own clock.

    All times are points in time, so a token that is stored and loaded again is as old as it is. `expires_at` and
    `refresh_expires_at` are None where nobody knows. An empty `access_token` is one that was never there: the
    start of a chain that so far is only a refresh token.
    """

    access_token: str = field(repr=False)
    issued_at: datetime
    expires_at: datetime | None
    refresh_token: str | None = field(default=None, repr=False)
    refresh_expires_at: datetime | None = None

    @classmethod
    def from_answer(cls, answer: Mapping[str, Any], *, issued_at: datetime, refresh_lifetime: float = 3600) -> Token:
        """
        Read a token answer (RFC 6749, 5.1); GofundoResponseError when it holds no usable bearer token.

        The answer does not say how long its refresh token lives: `refresh_lifetime` does, in seconds.
        """
        access_token = answer.get("access_token")
        if not isinstance(access_token, str) or not access_token:
            raise GofundoResponseError("The token endpoint answered without an access token.")
        if str(answer.get("token_type", "Bearer")).lower() != "bearer":
            raise GofundoResponseError("The token endpoint answered with a token that is no bearer token.")
        expires_in = answer.get("expires_in")
        expires_at = None if expires_in is None else _after(expires_in, issued_at)
        refresh_token = answer.get("refresh_token")
        if not isinstance(refresh_token, str) or not refresh_token:
            return cls(access_token=access_token, issued_at=issued_at, expires_at=expires_at)
        return cls(
            access_token=access_token,
            issued_at=issued_at,
            expires_at=expires_at,
            refresh_token=refresh_token,
            refresh_expires_at=issued_at + timedelta(seconds=refresh_lifetime),
        )

    @classmethod
    def seed(cls, refresh_token: str, *, at: datetime) -> Token:
        """Return the start of a chain: a refresh token of unknown age."""
        return cls(access_token="", issued_at=at, expires_at=at, refresh_token=refresh_token)

    def usable(self, at: datetime) -> bool:
        """Whether it may still be sent at that moment."""
        if not self.access_token:
            return False
        if self.expires_at is None:
            return True
        return at < self.expires_at - min(LEEWAY, (self.expires_at - self.issued_at) / 10)

    def refreshable(self, at: datetime) -> bool:
        """Whether its refresh token is believed alive at that moment."""
        if self.refresh_token is None:
            return False
        return self.refresh_expires_at is None or at < self.refresh_expires_at

    def spent(self) -> Token:
        """Return it without its refresh token, which works once and is about to be used."""
        return replace(self, refresh_token=None, refresh_expires_at=None)
