"""What the sandbox has issued: access tokens, refresh tokens and authorization codes, all in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from .clients import User


@dataclass(frozen=True)
class Access:
    """An access token, as the resource server knows it."""

    client_id: str
    user: User | None
    scopes: tuple[str, ...]
    expires_at: float
    revoked: bool = False

    def allows(self, scope: str) -> bool:
        """Whether the token carries the scope; `*` carries all."""
        return scope in self.scopes or "*" in self.scopes


@dataclass(frozen=True)
class Refresh:
    """A refresh token; it knows the access token that was issued with it."""

    client_id: str
    user: User | None
    scopes: tuple[str, ...]
    expires_at: float
    access_token: str = field(repr=False)
    revoked: bool = False


@dataclass(frozen=True)
class Code:
    """An authorization code with the PKCE challenge it was asked with."""

    client_id: str
    user: User
    scopes: tuple[str, ...]
    expires_at: float
    redirect_uri: str | None
    challenge: str | None
    challenge_method: str | None
    revoked: bool = False


class TokenStore:
    """The tokens by their value. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._access: dict[str, Access] = {}
        self._refresh: dict[str, Refresh] = {}
        self._codes: dict[str, Code] = {}

    def access(self, token: str) -> Access | None:
        """The access token of this value, dead or alive."""
        return self._access.get(token)

    def refresh(self, token: str) -> Refresh | None:
        """The refresh token of this value, dead or alive."""
        return self._refresh.get(token)

    def code(self, value: str) -> Code | None:
        """The authorization code of this value, used or not."""
        return self._codes.get(value)

    def issue(self, token: str, access: Access, *, refresh: tuple[str, float] | None = None) -> None:
        """Keep a new access token and, if given as (value, expiry), the refresh token beside it."""
        with self._lock:
            self._access[token] = access
            if refresh is not None:
                value, expires_at = refresh
                self._refresh[value] = Refresh(
                    access.client_id, access.user, access.scopes, expires_at, access_token=token
                )

    def issue_code(self, value: str, code: Code) -> None:
        """Keep a new authorization code."""
        with self._lock:
            self._codes[value] = code

    def spend_refresh(self, token: str) -> None:
        """Revoke a refresh token and, as league/oauth2-server does, the access token issued with it."""
        with self._lock:
            spent = self._refresh[token]
            self._refresh[token] = replace(spent, revoked=True)
            self.revoke_access((spent.access_token,))

    def spend_code(self, value: str) -> None:
        """Revoke a code: it works once."""
        with self._lock:
            self._codes[value] = replace(self._codes[value], revoked=True)

    def revoke_access(self, tokens: Iterable[str]) -> None:
        """Revoke these access tokens."""
        with self._lock:
            for token in tokens:
                self._access[token] = replace(self._access[token], revoked=True)

    def revoke_all(self) -> int:
        """Revoke every access and refresh token; answers how many were alive."""
        with self._lock:
            alive = sum(not token.revoked for token in self._access.values())
            alive += sum(not token.revoked for token in self._refresh.values())
            self._access = {key: replace(token, revoked=True) for key, token in self._access.items()}
            self._refresh = {key: replace(token, revoked=True) for key, token in self._refresh.items()}
            return alive
