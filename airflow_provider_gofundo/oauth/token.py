"""Token: what the token endpoint gave, and how long it is good for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_gofundo.exceptions import GofundoResponseError

# A token this close to its end counts as ended, so that the expiry does not overtake a request on its way.
# Of a short-lived token it is a tenth of its life.
LEEWAY = timedelta(seconds=30)


def now() -> datetime:
    """Return the time, aware and in UTC."""
    return datetime.now(timezone.utc)


@dataclass(frozen=True, kw_only=True)
class Token:
    """
    An access token, when it was asked for and when it expires; `expires_at` is None where the server is silent.

    Both are points in time, so a token that is stored and loaded again is as old as it is.
    """

    access_token: str = field(repr=False)
    issued_at: datetime
    expires_at: datetime | None

    @classmethod
    def from_answer(cls, answer: Mapping[str, Any], *, issued_at: datetime) -> Token:
        """Read a token answer (RFC 6749, 5.1); GofundoResponseError when it holds no usable bearer token."""
        access_token = answer.get("access_token")
        if not isinstance(access_token, str) or not access_token:
            raise GofundoResponseError("The token endpoint answered without an access token.")
        if str(answer.get("token_type", "Bearer")).lower() != "bearer":
            raise GofundoResponseError("The token endpoint answered with a token that is no bearer token.")
        expires_in = answer.get("expires_in")
        try:
            expires_at = None if expires_in is None else issued_at + timedelta(seconds=int(expires_in))
        except (TypeError, ValueError, OverflowError):
            raise GofundoResponseError(
                "The token endpoint answered with an expires_in that is no number of seconds."
            ) from None
        return cls(access_token=access_token, issued_at=issued_at, expires_at=expires_at)

    def usable(self, at: datetime) -> bool:
        """Whether it may still be sent at that moment."""
        if self.expires_at is None:
            return True
        return at < self.expires_at - min(LEEWAY, (self.expires_at - self.issued_at) / 10)
