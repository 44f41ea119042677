"""The connection form: what each field is called, what it takes, and what to say about it. Plain data."""

from __future__ import annotations

from typing import Any

DEFAULT_HOST = "https://gofundo.nl"
GRANT_TYPES = ("client_credentials", "password", "authorization_code", "refresh_token")

# By our own names; Airflow calls the last two login and password.
STANDARD_LABELS = {"host": "Host", "port": "Port", "client_id": "Client ID", "client_secret": "Client Secret"}

RELABELING = {"login": STANDARD_LABELS["client_id"], "password": STANDARD_LABELS["client_secret"]}

HIDDEN = ["schema"]

PLACEHOLDERS = {
    "host": DEFAULT_HOST,
    "port": "443; Airflow 3.3's Test button wants it filled in",
    "login": "from the table under Instellingen > API-koppeling",
    "password": "hover the client's row there and press Bekijk secret",
}


def _text(label: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"], **schema}}


def _number(label: str, description: str, kind: str = "integer", **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": [kind, "null"], **schema}}


# In the order a person fills them in: the grant, what each grant needs, what proves that it works, and the rest.
# Airflow masks by key name, not by format: a key with "token", "secret" or "password" in it is a secret, and
# no other key may contain those words.
EXTRA_FIELDS: dict[str, dict[str, Any]] = {
    "grant_type": _text(
        "Grant type",
        "How this connection logs in. client_credentials: with Client ID and Client Secret alone. password: as a "
        "user too. authorization_code: a person presses Authorize and logs in. refresh_token: with a token of a "
        "login made elsewhere.",
        enum=list(GRANT_TYPES),
        default="client_credentials",
    ),
    "username": _text("Username", "For the password grant: the e-mail address of a Gofundo user."),
    "user_password": _text(
        "User password", "For the password grant: that user's password.", format="password"
    ),
    "redirect_uri": _text(
        "Redirect URI",
        "For the authorization_code grant: to the letter as registered with the client under "
        "Instellingen > API-koppeling. The page Admin > Gofundo connections shows which one to register.",
    ),
    "refresh_token": _text(
        "Refresh token", "For the refresh_token grant: the first one of the chain.", format="password"
    ),
    "refresh_lifetime": _number(
        "Refresh token lifetime", "Seconds a refresh token lives. Gofundo documents one hour.",
        minimum=1, default=3600,
    ),
    "scope": _text("Scope", "Scopes to ask for, separated by spaces. Gofundo documents an empty scope."),
    "check_endpoint": _text(
        "Check endpoint", "A list for the Test button to read, such as api/donations. Empty: it only logs in."
    ),
    "share_login": {
        "label": "Share login",
        "description": "On: one login for all workers, encrypted in an Airflow Variable. Off: one for each process.",
        "schema": {"type": ["boolean", "null"], "default": True},
    },
    "timeout": _number(
        "Timeout", "Seconds that the server may be silent before a request counts as failed.",
        "number", minimum=0.1, maximum=3600, default=30,
    ),
    "max_attempts": _number(
        "Attempts", "How often a request is tried at most, the first time included.", minimum=1, default=5
    ),
    "requests_per_minute": _number(
        "Requests per minute", "A ceiling of your own, under the server's. Empty: none.", "number", minimum=0.1
    ),
    "ca_bundle": _text("CA bundle", "Path on the workers of a PEM file with a private CA. Empty: the system's."),
    "pseudonym_key_secret": _text(
        "Pseudonym key",
        "For pseudonymize_fields: 16 characters or more. Another key gives other pseudonyms.", format="password",
    ),
}  # fmt: skip
