"""The API clients and the one user of a sandbox, all fictitious."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

SCOPES = ("read-donations", "write-donations", "*")
GRANTS = ("client_credentials", "password", "authorization_code", "refresh_token")
CALLBACK = "http://127.0.0.1:8765/callback"
# The provider's Authorize page, in an Airflow on this machine.
AIRFLOW = ("http://127.0.0.1:8080/gofundo/callback", "http://localhost:8080/gofundo/callback")
WEB_GRANTS = ("authorization_code", "client_credentials", "refresh_token")
PASSWORD_GRANTS = ("password", "client_credentials", "refresh_token")


@dataclass(frozen=True)
class Client:
    """An API client: what Gofundo's screen Instellingen > API-koppeling makes."""

    id: str
    secret: str | None = field(repr=False)
    """None for a public client, which proves itself with PKCE."""
    name: str
    grants: tuple[str, ...]
    redirect_uris: tuple[str, ...] = ()
    revoked: bool = False

    @property
    def client_id(self) -> str:
        """The id under the name oauthlib looks for."""
        return self.id

    def accepts_redirect(self, uri: str) -> bool:
        """Whether the URI is registered: exactly, or on loopback with any port (RFC 8252)."""
        return any(uri == known or _loopback(uri) == _loopback(known) != "" for known in self.redirect_uris)


def _loopback(uri: str) -> str:
    """A loopback URI without its port; empty for any other."""
    parts = urlsplit(uri)
    if parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1"):
        return parts._replace(netloc=parts.hostname).geturl()
    return ""


@dataclass(frozen=True)
class User:
    """The user who can log in."""

    id: int
    name: str
    email: str
    password: str = field(repr=False)


ALICE = User(1, "Alice", "alice@example.org", "alice-password")

BUILT_IN = (
    Client("1", "secret-machine-1", "machine", ("client_credentials",)),
    Client("2", "secret-password-2", "password", PASSWORD_GRANTS),
    Client("3", "secret-web-3", "web", WEB_GRANTS, (CALLBACK, *AIRFLOW, "https://app.example.org/callback")),
    Client("4", None, "public, with PKCE", ("authorization_code", "refresh_token"), (CALLBACK,)),
    Client("5", "secret-consent-5", "consent", WEB_GRANTS, (CALLBACK,)),
    Client("6", "secret-other-6", "other", PASSWORD_GRANTS),
    Client("7", "secret-revoked-7", "revoked", ("client_credentials",), revoked=True),
)


def directory(extra: Iterable[Client] = ()) -> dict[str, Client]:
    """All clients by id; an extra one replaces a built-in one of the same id."""
    return {client.id: client for client in (*BUILT_IN, *extra)}


def own_client(text: str, redirect_uris: tuple[str, ...] = ()) -> Client:
    """A client from `ID:SECRET` that may use every grant. ValueError if a part is missing."""
    client_id, _, secret = text.partition(":")
    if not client_id or not secret:
        raise ValueError(f"a client is written ID:SECRET, not {text.partition(':')[0]!r}")
    return Client(client_id, secret, "your own", GRANTS, redirect_uris or (CALLBACK,))
