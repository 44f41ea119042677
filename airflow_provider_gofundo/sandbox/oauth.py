"""The token endpoint, on oauthlib's server side, in the order of checks of league/oauth2-server."""

from __future__ import annotations

import json
import re
import secrets
from typing import Any
from urllib.parse import urlencode

from oauthlib.common import Request as OAuthRequest
from oauthlib.oauth2 import (
    AuthorizationCodeGrant,
    BearerToken,
    ClientCredentialsGrant,
    RefreshTokenGrant,
    ResourceOwnerPasswordCredentialsGrant,
    TokenEndpoint,
)

from .league import laravel
from .messages import JSON, Request, Response, json_text
from .settings import Settings
from .validator import Validator

VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")
ORDER = ("token_type", "expires_in", "access_token", "refresh_token")


class CodeGrant(AuthorizationCodeGrant):
    """oauthlib's code grant; a verifier that does not fit is refused in league's words."""

    def validate_code_challenge(self, challenge: str, challenge_method: str, verifier: str) -> bool:
        validator: Any = self.request_validator  # ours: the constructor gave it
        if VERIFIER.fullmatch(verifier) is None:
            raise validator.league.malformed("Code Verifier must follow the specifications of RFC-7636.")
        if not super().validate_code_challenge(challenge, challenge_method, verifier):
            raise validator.league.bad_verifier("Failed to verify `code_verifier`.")
        return True


class UnsupportedGrant:
    """Stands where a grant is not known."""

    def __init__(self, validator: Validator) -> None:
        self._validator = validator

    def create_token_response(self, _request: OAuthRequest, _handler: object) -> tuple[dict[str, str], str, int]:
        error = self._validator.league.unsupported_grant()
        return error.headers, error.json, error.status_code


def _random(_request: object, _refresh_token: bool = False) -> str:
    return secrets.token_urlsafe(48)


class TokenIssuer:
    """POST /oauth/token."""

    def __init__(self, validator: Validator, settings: Settings) -> None:
        self._settings = settings
        bearer: Any = BearerToken(
            validator, token_generator=_random, expires_in=lambda _request: settings.access_lifetime
        )
        grants: dict[str, Any] = {
            "authorization_code": CodeGrant(validator),
            "client_credentials": ClientCredentialsGrant(validator),
            "password": ResourceOwnerPasswordCredentialsGrant(validator),
            "refresh_token": RefreshTokenGrant(validator),
        }
        for grant in grants.values():
            grant.custom_validators.pre_token.append(validator.admit)
        grants["unsupported"] = UnsupportedGrant(validator)
        self._endpoint = TokenEndpoint("unsupported", bearer, grants)

    def answer(self, request: Request) -> Response:
        """Issue a token or refuse it. The query string is ignored, the body wins over HTTP Basic."""
        fields = {name: str(value) for name, value in request.form.items() if value is not None}
        scopes = fields.pop("scope", "").split()
        if scopes:  # an empty scope is none, as in league
            fields["scope"] = " ".join(scopes)
        headers = {}
        if request.basic is not None:
            headers["Authorization"] = request.headers["authorization"]
            fields.setdefault("client_id", request.basic[0])
            fields.setdefault("client_secret", request.basic[1])
        # oauthlib's server side insists on https; the form of the URI is all it looks at
        extra, body, status = self._endpoint.create_token_response(
            "https://127.0.0.1/oauth/token", "POST", urlencode(fields), headers
        )
        league = self._settings.league
        if status != 200:
            challenge = [(name, value) for name, value in extra.items() if name == "WWW-Authenticate"]
            return Response(status, body.encode(), (("Content-Type", JSON), *challenge, *laravel(league)))
        token: dict[str, Any] = json.loads(body)
        answer = {name: token[name] for name in ORDER if name in token}
        store = "no-store, private" if league == 8 else "no-store"
        return Response(
            200,
            json_text(answer).encode(),
            (
                ("Pragma", "no-cache"),
                ("Cache-Control", store),
                ("Content-Type", "application/json; charset=UTF-8"),
            ),
        )
