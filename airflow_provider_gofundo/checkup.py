"""Checkup: step by step, from the server's name to a list, does this connection work, and if not, why."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.exceptions import (
    GofundoAuthError,
    GofundoConfigError,
    GofundoConnectionError,
    GofundoError,
    GofundoReauthorizationRequired,
    GofundoResponseError,
)
from airflow_provider_gofundo.oauth.grants import TOKEN_PATH, grant_for
from airflow_provider_gofundo.oauth.manager import TokenManager
from airflow_provider_gofundo.oauth.store import MemoryTokenStore
from airflow_provider_gofundo.oauth.token import Token, now
from airflow_provider_gofundo.pages.walk import walk
from airflow_provider_gofundo.settings import Settings
from airflow_provider_gofundo.transport import ApiSession

CHAINS = ("authorization_code", "refresh_token")

OnToken = Callable[[Token], None]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """
    What one step found, in a sentence without a secret.

    `step` is address, connection, login or list. One that was `skipped` is ok, and proves nothing.
    """

    step: str
    ok: bool
    text: str
    skipped: bool = False


def checkup(client: GofundoClient, *, on_token: OnToken = lambda _: None) -> Iterator[Finding]:
    """
    Yield what each step finds, up to the first that fails: address, connection, login, list.

    The login is a new one, kept to itself, and `on_token` is told of it. A chain of refresh tokens goes on with its
    stored login where that is good, and otherwise has only its client checked: nothing is used up.
    """
    settings = client.settings
    for step, look in (("address", _address), ("connection", _connection)):
        finding = _finding(step, partial(look, settings))
        yield finding
        if not finding.ok:
            return
    yield from credentials(settings, stored=client.tokens.state, on_token=on_token)


def credentials(
    settings: Settings, *, stored: Callable[[], Token | None] | None = None, on_token: OnToken = lambda _: None
) -> Iterator[Finding]:
    """Yield the steps login and list of a checkup; without `stored` nothing is known of what is stored."""
    tokens = MemoryTokenStore()
    patient = replace(settings, max_attempts=1)  # a person is waiting
    login = _finding("login", lambda: _login(patient, tokens, stored, on_token))
    yield login
    if not login.ok:
        return
    if not settings.check_endpoint:
        yield Finding(step="list", ok=True, skipped=True, text="The connection names no Check endpoint.")
    elif tokens.load() is None:
        yield Finding(step="list", ok=True, skipped=True, text="There is no login to read it with.")
    else:
        yield _finding("list", lambda: _list(patient, tokens))


def _finding(step: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(step=step, ok=True, text=look())
    except GofundoError as error:
        return Finding(step=step, ok=False, text=str(error))


def _address(settings: Settings) -> str:
    url = urlsplit(settings.base_url)
    name = url.hostname or ""
    if url.scheme == "https" and get_environ_proxies(settings.base_url):
        return f"A proxy looks {name} up."
    try:
        found = {str(address[4][0]) for address in socket.getaddrinfo(name, url.port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        text = f"No such host: {name}. Check Host in the connection, and the DNS of this machine."
    else:
        return f"{name} is at {', '.join(sorted(found))}." if found != {name} else f"{name} is an address itself."
    raise GofundoConnectionError(text)


def _connection(settings: Settings) -> str:
    """Ask for something that needs no login, through the very door that everything else leaves by."""
    session = ApiSession(settings)
    try:
        session.exchange("GET", f"{settings.base_url}/{TOKEN_PATH}", params={}, json=None, headers={})
    except GofundoResponseError:
        pass  # a redirect is an answer too; the login will say what is wrong with it
    finally:
        session.close()
    encrypted = settings.base_url.startswith("https://")
    return f"{settings.base_url} answers, {'over TLS' if encrypted else 'without TLS, on this machine'}."


def _login(
    settings: Settings, tokens: MemoryTokenStore, stored: Callable[[], Token | None] | None, on_token: OnToken
) -> str:
    """Log in, and leave in `tokens` what the list can be read with."""
    grant = grant_for(settings)
    if settings.grant_type not in CHAINS:
        token = grant.fetch()
        on_token(token)
        tokens.save(token)
        return f"{settings.grant_type} works{_until(token)}."
    if stored is None:
        grant.check()
        return "The server knows this client. Not tested: Redirect URI, Scope and the login itself."
    chain = stored()
    if chain and chain.usable(now()):
        on_token(chain)
        tokens.save(chain.spent())
        return f"{settings.grant_type} has a stored login{_until(chain)}."
    grant.check()
    chain = chain or grant.seed
    if chain is None or not chain.refreshable(now()):
        grant.fetch()  # says what a person has to do
    return "The server knows this client. Not tested: the refresh token, which works once."


def _list(settings: Settings, tokens: MemoryTokenStore) -> str:
    endpoint = settings.check_endpoint or ""
    if "?" in endpoint:
        raise GofundoConfigError("Check endpoint holds a query string; write the path alone, such as api/donations.")
    try:
        with GofundoClient(settings, TokenManager(grant_for(settings), tokens)) as client:
            page = next(walk(client, endpoint, parallel=1))
    except GofundoReauthorizationRequired:
        page = None
    except GofundoResponseError as error:
        raise GofundoResponseError(f"{error} Check endpoint has to be a list.") from None
    if page is None:
        raise GofundoAuthError(
            "The server refuses the stored login. The next task refreshes it if it still can; otherwise somebody has "
            "to log in again."
        )
    total = len(page.records) if page.total is None else page.total
    return f"{endpoint} answers, with {total:,} records."


def _until(token: Token) -> str:
    return f", with a token until {token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else ""
