"""GET /oauth/authorize with its consent screen, and the login in front of it (`tests/transcripts/c*`)."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlencode

from oauthlib.common import Request as OAuthRequest
from oauthlib.oauth2 import AuthorizationCodeGrant, AuthorizationEndpoint, BearerToken

from .clients import ALICE, User
from .html import consent_page, html_response, login_page, redirect
from .league import LeagueError, laravel, with_query
from .messages import HTML, Request, Response, json_response
from .settings import Settings
from .validator import AnyRequest, Validator

COOKIE = "gofundo_sandbox_session"
CHALLENGE = re.compile(r"[A-Za-z0-9\-._~]{43,128}")
URI = "https://127.0.0.1/oauth/authorize"  # oauthlib's server side insists on https


@dataclass
class Session:
    """One browser."""

    user: User | None = None
    form_token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    intended: str | None = None
    pending: str | None = None
    """The query string of the authorization request on the consent screen."""


class Authorizer:
    """The authorization endpoint on oauthlib's server side."""

    def __init__(self, validator: Validator, settings: Settings) -> None:
        self._validator = validator
        self._settings = settings
        self._sessions: dict[str, Session] = {}
        grant: Any = AuthorizationCodeGrant(validator)  # its stubs know no custom_validators
        grant.custom_validators.pre_auth.append(self._check)
        bearer: Any = BearerToken(validator)  # the stubs want a name here, the code an object
        self._endpoint = AuthorizationEndpoint("code", bearer, {"code": grant})

    def answer(self, request: Request) -> Response:
        """GET asks for a code; POST approves what the consent screen showed, DELETE denies it."""
        method = str(request.form.get("_method", request.method)) if request.method == "POST" else request.method
        if method in ("GET", "HEAD"):
            return self._ask(request, urlencode(request.query))
        session = self._session(request)
        if session is None or session.pending is None or request.form.get("auth_token") != session.form_token:
            return json_response({"message": "The provided auth token is not valid."}, 403)
        query_string, session.pending = session.pending, None
        if method == "DELETE":
            return self._deny(query_string)
        return self._approve(query_string)

    def _ask(self, request: Request, query_string: str) -> Response:
        refused = self._refusal(query_string)
        if refused is not None:
            return refused
        if self._settings.consent == "approve":
            return self._approve(query_string)
        if self._settings.consent == "deny":
            return self._deny(query_string)
        session = self._session(request)
        if session is None or session.user is None:
            if request.expects_json:
                return json_response({"message": "Unauthenticated."}, 401)
            guest, cookie = self._open()
            guest.intended = f"{request.path}?{query_string}"
            return redirect(f"{request.base_url}/login", cookie)
        session.pending = query_string
        session.form_token = secrets.token_urlsafe(24)
        client = self._validator.client(request.query.get("client_id"))
        name = client.name if client else ""
        scopes = tuple(request.query.get("scope", "").split())
        page = consent_page(session.form_token, client=name, user=session.user.name, scopes=scopes)
        return html_response(200, page)

    def _refusal(self, query_string: str) -> Response | None:
        """What is wrong with an authorization request, if anything."""
        asked = OAuthRequest(f"{URI}?{query_string}")
        try:
            if asked.response_type != "code" or asked.client_id is None:
                league = self._validator.league
                if league.version == 9 and asked.client_id is not None and asked.response_type is None:
                    raise league.missing("response_type")
                raise league.unsupported_grant()
            self._endpoint.validate_authorization_request(asked.uri)
        except LeagueError as error:
            return error.response(asked.state)
        return None

    def _approve(self, query_string: str) -> Response:
        uri = f"{URI}?{query_string}"
        scopes = (OAuthRequest(uri).scope or "").split()
        headers, _, status = self._endpoint.create_authorization_response(
            uri, scopes=scopes, credentials={"user": ALICE}
        )
        answer = [("Location", headers["Location"]), ("Content-Type", HTML), *laravel(self._settings.league)]
        return Response(status, b"", tuple(answer))

    def _deny(self, query_string: str) -> Response:
        asked = OAuthRequest(f"{URI}?{query_string}")
        client = self._validator.client(asked.client_id)
        back = asked.redirect_uri or (client.redirect_uris[0] if client else "/")
        state = {} if asked.state is None else {"state": asked.state}
        if self._settings.league == 8:
            return redirect(with_query(back, {"error": "access_denied", **state}))
        told = {
            "error": "access_denied",
            "error_description": "The resource owner or authorization server denied the request.",
            "hint": "The user denied the request",
        }
        return Response(302, b"", (("Location", with_query(back, {**state, **told})), ("Content-Type", HTML)))

    def _check(self, asked: AnyRequest) -> dict[str, Any]:
        """League's checks behind client and redirect URI: the scopes, then PKCE."""
        league = self._validator.league
        try:
            scopes = (asked.scope or "").split()
            self._validator.validate_scopes(asked.client_id, scopes, asked.client, asked)
        except LeagueError as error:
            error.redirect_to = asked.redirect_uri
            raise
        challenge = asked.code_challenge
        if challenge is None:
            if asked.client.secret is None:
                raise league.malformed("Code challenge must be provided for public clients")
            return {}
        if asked.code_challenge_method not in (None, "S256", "plain"):
            raise league.malformed("Code challenge method must be one of `S256`, `plain`")
        if CHALLENGE.fullmatch(challenge) is None:
            raise league.malformed("Code challenge must follow the specifications of RFC-7636.")
        return {}

    # --- the login ----------------------------------------------------------------------------------------

    def login(self, request: Request) -> Response:
        """GET /login shows the form, POST /login checks it and goes on to where the browser wanted to go."""
        session = self._session(request)
        cookies: tuple[tuple[str, str], ...] = ()
        if session is None:
            session, cookie = self._open()
            cookies = (cookie,)
        error = ""
        if request.method == "POST":
            form = request.form
            if form.get("_token") != session.form_token:
                error = "This page has expired. Please try again."
            elif (form.get("email"), form.get("password")) == (ALICE.email, ALICE.password):
                session.user, goal = ALICE, session.intended or "/"
                session.intended = None
                return redirect(request.base_url + goal)
            else:
                error = "These credentials do not match our records."
        page = login_page(session.form_token, email=ALICE.email, password=ALICE.password, error=error)
        return html_response(200, page, *cookies)

    def _session(self, request: Request) -> Session | None:
        try:
            morsel = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return None
        return self._sessions.get(morsel.value) if morsel else None

    def _open(self) -> tuple[Session, tuple[str, str]]:
        value, session = secrets.token_urlsafe(24), Session()
        self._sessions[value] = session
        return session, ("Set-Cookie", f"{COOKIE}={value}; Path=/; HttpOnly; SameSite=Lax")
