"""oauthlib's RequestValidator over the sandbox's clients and tokens, refusing in league's words and order."""

from __future__ import annotations

from typing import Any

from oauthlib.oauth2 import RequestValidator

from .clients import ALICE, SCOPES, Client
from .clock import Clock
from .league import League
from .settings import Settings
from .tokens import Access, Code, TokenStore

AnyRequest = Any
"""oauthlib's request: its parameters are attributes that exist only while it runs."""

REQUIRED = {
    "authorization_code": ("code",),
    "refresh_token": ("refresh_token",),
    "password": ("username", "password"),
}


class Validator(RequestValidator):
    """Answers oauthlib's questions. Where the answer is no, it raises the error league would send."""

    def __init__(self, clients: dict[str, Client], tokens: TokenStore, settings: Settings, clock: Clock) -> None:
        self._clients = clients
        self._tokens = tokens
        self._settings = settings
        self._clock = clock

    @property
    def league(self) -> League:
        """The errors of the league version that is switched on."""
        return League(self._settings.league)

    def client(self, client_id: str | None) -> Client | None:
        """The client of this id, unless it is revoked."""
        client = self._clients.get(client_id or "")
        return None if client is None or client.revoked else client

    # --- the authorization endpoint -----------------------------------------------------------------------

    def validate_client_id(self, client_id: str, request: AnyRequest, *args: Any, **kwargs: Any) -> bool:
        request.client = self.client(client_id)
        if request.client is None:
            raise self.league.invalid_client()
        return True

    def validate_redirect_uri(
        self, client_id: str, redirect_uri: str, request: AnyRequest, *args: Any, **kwargs: Any
    ) -> bool:
        if not request.client.accepts_redirect(redirect_uri):
            raise self.league.invalid_client()
        return True

    def get_default_redirect_uri(self, client_id: str, request: AnyRequest, *args: Any, **kwargs: Any) -> str:
        if len(request.client.redirect_uris) != 1:
            raise self.league.invalid_client()
        uri: str = request.client.redirect_uris[0]
        return uri

    def validate_response_type(
        self,
        client_id: str,
        response_type: str,
        client: Any,
        request: AnyRequest,
        *args: Any,
        **kwargs: Any,
    ) -> bool:
        return True  # checked before oauthlib is asked

    def is_pkce_required(self, client_id: str, request: AnyRequest) -> bool:
        return False  # league has its own words for it

    def save_authorization_code(
        self, client_id: str, code: Any, request: AnyRequest, *args: Any, **kwargs: Any
    ) -> None:
        given = None if request.using_default_redirect_uri else request.redirect_uri
        scopes = tuple(scope for scope in request.scopes or () if scope != "*")
        expires_at = self._clock.now() + self._settings.code_lifetime
        method = request.code_challenge_method or "plain"
        kept = Code(client_id, request.user, scopes, expires_at, given, request.code_challenge, method)
        self._tokens.issue_code(code["code"], kept)

    # --- the token endpoint -------------------------------------------------------------------------------

    def admit(self, request: AnyRequest) -> dict[str, Any]:
        """What league checks first in every grant: the client, then what the grant needs."""
        self.authenticate_client(request)
        if request.grant_type == "password":
            self.validate_scopes(request.client_id, request.scopes, request.client, request)
        for parameter in REQUIRED.get(request.grant_type, ()):
            if getattr(request, parameter, None) is None:
                raise self.league.missing(parameter)
        return {}

    def authenticate_client(self, request: AnyRequest, *args: Any, **kwargs: Any) -> bool:
        """Known, allowed to use this grant, and with the right secret; the order is league's."""
        challenge = "Authorization" in request.headers
        if request.client_id is None:
            raise self.league.missing("client_id")
        client = self.client(request.client_id)
        if client is None:
            raise self.league.invalid_client(challenge=challenge)
        if request.grant_type not in client.grants:
            raise self.league.unauthorized_client(challenge=challenge)
        if client.secret is not None:
            if not request.client_secret:
                raise self.league.secret_missing(challenge=challenge)
            if request.client_secret != client.secret:
                raise self.league.invalid_client(challenge=challenge)
        if self.league.version == 8 and request.redirect_uri and not client.accepts_redirect(request.redirect_uri):
            raise self.league.invalid_client(challenge=challenge)
        request.client = client
        return True

    def client_authentication_required(self, request: AnyRequest, *args: Any, **kwargs: Any) -> bool:
        return True

    def validate_grant_type(
        self, client_id: str, grant_type: str, client: Any, request: AnyRequest, *args: Any, **kwargs: Any
    ) -> bool:
        return True  # authenticate_client has refused it already

    def validate_scopes(
        self, client_id: str, scopes: Any, client: Any, request: AnyRequest, *args: Any, **kwargs: Any
    ) -> bool:
        for scope in scopes or ():
            if scope and scope not in SCOPES:
                raise self.league.invalid_scope(scope)
        return True

    def get_default_scopes(self, client_id: str, request: AnyRequest, *args: Any, **kwargs: Any) -> list[str]:
        return []

    def validate_user(
        self, username: str, password: str, client: Any, request: AnyRequest, *args: Any, **kwargs: Any
    ) -> bool:
        if (username, password) != (ALICE.email, ALICE.password):
            raise self.league.wrong_user()
        request.user = ALICE
        return True

    def validate_code(
        self, client_id: str, code: str, client: Any, request: AnyRequest, *args: Any, **kwargs: Any
    ) -> bool:
        found = self._tokens.code(code)
        league = self.league
        if found is None:
            garbage = "Cannot decrypt the authorization code"
            raise league.bad_code(
                garbage if league.version == 8 else "Cannot validate the provided authorization code"
            )
        if found.expires_at < self._clock.now():
            raise league.bad_code("Authorization code has expired")
        if found.revoked:
            raise league.bad_code("Authorization code has been revoked")
        if found.client_id != client.id:
            raise league.malformed("Authorization code was not issued to this client")
        if found.redirect_uri and request.redirect_uri is None:
            raise league.missing("redirect_uri")
        if found.redirect_uri != request.redirect_uri:
            raise league.malformed("Invalid redirect URI")
        request.user, request.scopes = found.user, list(found.scopes)
        return True

    def get_code_challenge(self, code: str, request: AnyRequest) -> Any:
        found = self._tokens.code(code)
        challenge = found.challenge if found else None
        if challenge is None and request.code_verifier is not None:
            raise self.league.malformed("code_verifier received when no code_challenge is present")
        if challenge is not None and request.code_verifier is None:
            raise self.league.missing("code_verifier")
        return challenge

    def get_code_challenge_method(self, code: str, request: AnyRequest) -> Any:
        found = self._tokens.code(code)
        return found.challenge_method if found else None

    def confirm_redirect_uri(
        self,
        client_id: str,
        code: str,
        redirect_uri: str,
        client: Any,
        request: AnyRequest,
        *args: Any,
        **kwargs: Any,
    ) -> bool:
        return True  # validate_code has compared it already

    def invalidate_authorization_code(
        self, client_id: str, code: str, request: AnyRequest, *args: Any, **kwargs: Any
    ) -> None:
        self._tokens.spend_code(code)

    def validate_refresh_token(
        self, refresh_token: str, client: Any, request: AnyRequest, *args: Any, **kwargs: Any
    ) -> bool:
        found = self._tokens.refresh(refresh_token)
        if found is None:
            raise self.league.bad_refresh("Cannot decrypt the refresh token")
        if found.client_id != client.id:
            raise self.league.bad_refresh("Token is not linked to client")
        if found.expires_at < self._clock.now():
            raise self.league.bad_refresh("Token has expired")
        if found.revoked:
            raise self.league.bad_refresh("Token has been revoked")
        request.user = found.user
        return True

    def get_original_scopes(self, refresh_token: str, request: AnyRequest, *args: Any, **kwargs: Any) -> list[str]:
        found = self._tokens.refresh(refresh_token)
        return list(found.scopes) if found else []

    def is_within_original_scope(
        self, request_scopes: Any, refresh_token: str, request: AnyRequest, *args: Any, **kwargs: Any
    ) -> bool:
        self.validate_scopes(request.client_id, request_scopes, request.client, request)
        granted = self.get_original_scopes(refresh_token, request)
        raise self.league.invalid_scope(next(scope for scope in request_scopes if scope not in granted))

    def rotate_refresh_token(self, request: AnyRequest) -> bool:
        return True

    def save_bearer_token(self, token: Any, request: AnyRequest, *args: Any, **kwargs: Any) -> None:
        now = self._clock.now()
        if request.grant_type == "refresh_token":
            self._tokens.spend_refresh(request.refresh_token)
        # Passport lets `*` through only where there is no consent screen
        star = request.grant_type in ("password", "client_credentials")
        scopes = tuple(scope for scope in request.scopes or () if star or scope != "*")
        access = Access(request.client_id, request.user, scopes, now + self._settings.access_lifetime)
        value = token.get("refresh_token")
        refresh = None if value is None else (value, now + self._settings.refresh_lifetime)
        self._tokens.issue(token["access_token"], access, refresh=refresh)
