"""The errors of the token and authorize endpoints in the words of league/oauth2-server 8 and 9.

Texts, statuses and headers are those of the recorded exchanges (`tests/transcripts/b*`, `c*`, `v9_*`).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from oauthlib.oauth2.rfc6749.errors import FatalClientError

from .messages import HTML, JSON, NO_CACHE, Response, json_text

MALFORMED = (
    "The request is missing a required parameter, includes an invalid parameter value, "
    "includes a parameter more than once, or is otherwise malformed."
)
GRANT_INVALID = (
    "The provided authorization grant (e.g., authorization code, resource owner credentials) or refresh token "
    "is invalid, expired, revoked, does not match the redirection URI used in the authorization request, "
    "or was issued to another client."
)


class LeagueError(FatalClientError):
    """An OAuth error as league/oauth2-server answers it.

    It derives from oauthlib's fatal error so that oauthlib neither rewords nor redirects it.
    """

    def __init__(
        self, league: int, error: str, description: str, *, hint: str | None = None, status: int = 400
    ) -> None:
        self.error: str = error
        self.text = description
        self.league = league
        self.hint = hint
        self.redirect_to: str | None = None
        self.challenge = False
        super().__init__(description=description, status_code=status)

    @property
    def payload(self) -> dict[str, str]:
        """The answer's fields; league 8 repeats the description as `message`."""
        fields = {"error": self.error, "error_description": self.text}
        if self.hint is not None:
            fields["hint"] = self.hint
        if self.league == 8:
            fields["message"] = self.text
        return fields

    @property
    def json(self) -> str:
        return json_text(self.payload)

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": 'Basic realm="OAuth"'} if self.challenge else {}

    def response(self, state: str | None = None) -> Response:
        """The answer: JSON, or a redirect back to the client with the error in its query."""
        if self.redirect_to is None:
            headers: list[tuple[str, str]] = [("Content-Type", JSON), *self.headers.items()]
        else:
            fields = self.payload
            if state is not None and self.league == 9:  # league 8 drops the state here (c05)
                fields = {"state": state, **fields}
            headers = [("Location", with_query(self.redirect_to, fields)), ("Content-Type", HTML)]
        body = b"" if self.redirect_to else self.json.encode()
        return Response(302 if self.redirect_to else self.status_code, body, (*headers, *laravel(self.league)))


class League:
    """Makes the errors of one league version."""

    def __init__(self, version: int) -> None:
        self.version = version

    def _error(self, error: str, description: str, **options: Any) -> LeagueError:
        return LeagueError(self.version, error, description, **options)

    def invalid_client(self, *, challenge: bool = False) -> LeagueError:
        """Wrong, unknown, revoked or missing client; `challenge` when it came by HTTP Basic."""
        error = self._error("invalid_client", "Client authentication failed", status=401)
        error.challenge = challenge
        return error

    def unauthorized_client(self, *, challenge: bool = False) -> LeagueError:
        """A client that may not use this grant."""
        if self.version == 8:
            return self.invalid_client(challenge=challenge)
        return self._error(
            "unauthorized_client",
            "The authenticated client is not authorized to use this authorization grant type.",
        )

    def secret_missing(self, *, challenge: bool = False) -> LeagueError:
        """A confidential client without its secret."""
        if self.version == 8:
            return self.invalid_client(challenge=challenge)
        return self.missing("client_secret")

    def missing(self, parameter: str) -> LeagueError:
        """A required parameter is not there."""
        return self.malformed(f"Check the `{parameter}` parameter")

    def malformed(self, hint: str) -> LeagueError:
        """invalid_request with a hint."""
        return self._error("invalid_request", MALFORMED, hint=hint)

    def unsupported_grant(self) -> LeagueError:
        """grant_type or response_type missing or unknown."""
        return self._error(
            "unsupported_grant_type",
            "The authorization grant type is not supported by the authorization server.",
            hint="Check that all required parameters have been provided",
        )

    def invalid_scope(self, scope: str) -> LeagueError:
        """A scope that does not exist or was not granted."""
        description = "The requested scope is invalid, unknown, or malformed"
        return self._error("invalid_scope", description, hint=f"Check the `{scope}` scope")

    def wrong_user(self) -> LeagueError:
        """Wrong user or password."""
        return self._error("invalid_grant", "The user credentials were incorrect.")

    def bad_refresh(self, hint: str) -> LeagueError:
        """A refresh token that is expired, used, garbage or another client's."""
        if self.version == 8:
            return self._error("invalid_request", "The refresh token is invalid.", hint=hint, status=401)
        return self._error("invalid_grant", "The refresh token is invalid.", hint=hint)

    def bad_code(self, hint: str) -> LeagueError:
        """An authorization code that is expired, used or garbage."""
        return self.malformed(hint) if self.version == 8 else self.bad_verifier(hint)

    def bad_verifier(self, hint: str) -> LeagueError:
        """invalid_grant with a hint."""
        return self._error("invalid_grant", GRANT_INVALID, hint=hint)


def laravel(league: int) -> tuple[tuple[str, str], ...]:
    """The header Laravel adds to what league 8 answers; league 9 was recorded without Laravel around it."""
    return (NO_CACHE,) if league == 8 else ()


def with_query(uri: str, fields: dict[str, str]) -> str:
    """The URI with these fields added to its query."""
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(fields)}"
