"""Grants: the ways of RFC 6749 to get a token, over requests-oauthlib."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import Any

import requests
from oauthlib.oauth2 import BackendApplicationClient, Client, LegacyApplicationClient, WebApplicationClient

from airflow_provider_gofundo.address import https_form
from airflow_provider_gofundo.answer import decode, require_success
from airflow_provider_gofundo.exceptions import (
    GofundoAuthError,
    GofundoConnectionError,
    GofundoError,
    GofundoReauthorizationRequired,
    GofundoResponseError,
    without_frames,
)
from airflow_provider_gofundo.oauth.refusal import finished, refusal
from airflow_provider_gofundo.oauth.token import Token, now
from airflow_provider_gofundo.settings import Settings
from airflow_provider_gofundo.transport import ApiSession

log = logging.getLogger(__name__)

TOKEN_PATH = "oauth/token"  # noqa: S105  # a path, no secret

Clock = Callable[[], datetime]


class Grant(ABC):
    """One way to get tokens. `seed` is what its chain of refresh tokens begins with, where the connection has it."""

    seed: Token | None = None

    _login: ApiSession | None = None  # one under way
    _stopped = False

    def __init__(self, settings: Settings, *, clock: Clock = now) -> None:
        self._settings = settings
        self._clock = clock

    @abstractmethod
    def fetch(self) -> Token:
        """Log in; GofundoAuthError when the server refuses, GofundoReauthorizationRequired when only a person can."""

    def check(self) -> None:
        """
        Prove that the server knows the client, and use nothing up; raises as `fetch` does.

        Refreshes with a refresh token that cannot exist: a server that says so has recognised the client.
        """
        try:
            self.refresh("not-a-refresh-token")
        except GofundoAuthError as error:
            if not finished(error):
                raise

    def stop(self) -> None:
        """
        Cut a login under way, and the next ones. There is no way back.

        What uses something up is not cut: its answer may hold the only token there is.
        """
        self._stopped = True
        if self._login:
            self._login.abort()

    @without_frames
    def refresh(self, refresh_token: str) -> Token:
        """Exchange a refresh token (RFC 6749, 6). It works once: whatever comes of it, do not send it again."""
        settings = self._settings
        client = Client(settings.client_id, refresh_token=refresh_token)
        credentials: dict[str, Any] = {"client_id": settings.client_id}
        if settings.client_secret:
            credentials["client_secret"] = settings.client_secret
        return _ask(
            settings,
            client,
            "refresh_token",
            lambda session, url: session.refresh_token(url, refresh_token=refresh_token, **credentials),
            clock=self._clock,
        )

    @without_frames
    def _fetch(self, client: Client, grant_type: str, *, harmless: bool, **parameters: Any) -> Token:
        settings = self._settings
        if settings.scope and harmless:
            parameters["scope"] = settings.scope
        return _ask(
            settings,
            client,
            grant_type,
            lambda session, url: session.fetch_token(
                url, include_client_id=True, client_secret=settings.client_secret, **parameters
            ),
            clock=self._clock,
            harmless=harmless,
            opened=self._opened if harmless else lambda _: None,
        )

    def _opened(self, session: ApiSession) -> None:
        self._login = session
        if self._stopped:
            session.abort()


class ClientCredentialsGrant(Grant):
    """RFC 6749, 4.4: the client logs in as itself. Never comes with a refresh token."""

    def check(self) -> None:
        """Log in; asking once more uses nothing up."""
        self.fetch()

    def fetch(self) -> Token:
        """Log in as the client."""
        return self._fetch(BackendApplicationClient(self._settings.client_id), "client_credentials", harmless=True)


class PasswordGrant(Grant):
    """RFC 6749, 4.3: the client logs in with a user's name and password."""

    def check(self) -> None:
        """Log in; asking once more uses nothing up."""
        self.fetch()

    def fetch(self) -> Token:
        """Log in as the user."""
        return self._fetch(
            LegacyApplicationClient(self._settings.client_id),
            "password",
            harmless=True,
            username=self._settings.username or "",
            password=self._settings.user_password or "",
        )


class RefreshTokenGrant(Grant):
    """A chain of refresh tokens that begins with the one in the connection, and cannot begin by itself again."""

    def __init__(self, settings: Settings, *, clock: Clock = now) -> None:
        super().__init__(settings, clock=clock)
        self.seed = Token.seed(settings.refresh_token or "", at=clock())

    def fetch(self) -> Token:
        """Say that a person has to."""
        raise GofundoReauthorizationRequired(
            f"Connection '{self._settings.conn_id}': its chain of refresh tokens has ended. Put a new one into "
            "Refresh token, and keep it alive with GofundoRefreshTokenOperator."
        )


class AuthorizationCodeGrant(Grant):
    """RFC 6749, 4.1, with PKCE (RFC 7636): a person logs in once in a browser; from there on it is a chain."""

    def fetch(self) -> Token:
        """Say that a person has to."""
        raise GofundoReauthorizationRequired(
            f"Connection '{self._settings.conn_id}': somebody has to log in to Gofundo. Press Authorize under "
            f"Admin > Gofundo connections, or run: airflow gofundo authorize {self._settings.conn_id}"
        )

    @without_frames
    def exchange(self, code: str, code_verifier: str) -> Token:
        """Exchange the code that the browser brought back, which works once (RFC 6749, 4.1.3)."""
        return self._fetch(
            WebApplicationClient(self._settings.client_id),
            "authorization_code",
            harmless=False,
            code=code,
            code_verifier=code_verifier,
        )


_GRANTS: dict[str, type[Grant]] = {
    "client_credentials": ClientCredentialsGrant,
    "password": PasswordGrant,
    "refresh_token": RefreshTokenGrant,
    "authorization_code": AuthorizationCodeGrant,
}


def grant_for(settings: Settings, *, clock: Clock = now) -> Grant:
    """Return the grant that the connection names."""
    return _GRANTS[settings.grant_type](settings, clock=clock)


def _ask(
    settings: Settings,
    client: Client,
    grant_type: str,
    send: Callable[[ApiSession, str], Any],
    *,
    clock: Clock,
    harmless: bool = False,
    opened: Callable[[ApiSession], None] = lambda _: None,
) -> Token:
    """
    POST to the token endpoint, in a session of its own, so that nothing that happens here touches a token in use.

    `harmless` says that asking again does no harm, whatever became of the first time. `opened` is told the session.
    """
    issued_at = clock()
    tokens: list[Token] = []

    def check(response: requests.Response) -> requests.Response:
        """Look at the answer before oauthlib does, which makes one error of everything that is no token."""
        refused = refusal(response, grant_type, login=settings.grant_type)
        if refused:
            raise refused
        require_success(response, method="POST", path=TOKEN_PATH, idempotent=harmless)
        answer = decode(response, dict[str, Any], method="POST", path=TOKEN_PATH, idempotent=harmless)
        tokens.append(Token.from_answer(answer, issued_at=issued_at, refresh_lifetime=settings.refresh_lifetime))
        return response

    # Of all clients only this one may send it.
    redirect_uri = settings.redirect_uri if isinstance(client, WebApplicationClient) else None
    with ApiSession(settings, client=client, redirect_uri=redirect_uri) as session:
        opened(session)
        session.register_compliance_hook("access_token_response", check)
        session.register_compliance_hook("refresh_token_response", check)
        try:
            send(session, https_form(f"{settings.base_url}/{TOKEN_PATH}"))
        except GofundoConnectionError as error:
            if error.answer_lost and harmless:
                error.retry_in = 0.0
            raise
        except GofundoError:
            raise
        except Exception as error:  # noqa: BLE001  # oauthlib's opinion of an answer that has been read already
            log.debug("oauthlib does not like the answer: %s", type(error).__name__)
    if not tokens:
        raise GofundoResponseError("The token endpoint answered with something that is no token. Check Host.")
    return tokens[0]
