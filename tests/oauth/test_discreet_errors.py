"""Whatever goes wrong with a login, the error holds no secret: not in its text, its attributes, or its frames."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_gofundo.exceptions import GofundoError
from airflow_provider_gofundo.oauth.authorization import begin
from airflow_provider_gofundo.oauth.grants import AuthorizationCodeGrant, grant_for
from airflow_provider_gofundo.sandbox import Sandbox
from tests.fixtures import ClientOf, settings_of
from tests.leaks import exposed

ALICE = {"username": "alice@example.org", "user_password": "alice-password"}
CONNECTIONS: dict[str, dict[str, Any]] = {
    "client_credentials": {"login": "1", "password": "secret-machine-1"},
    "password": {"login": "2", "password": "secret-password-2", "extra": {"grant_type": "password", **ALICE}},
    "refresh_token": {
        "login": "2",
        "password": "secret-password-2",
        "extra": {"grant_type": "refresh_token", "refresh_token": "a-refresh-token-of-somebody"},
    },
    "authorization_code": {
        "login": "3",
        "password": "secret-web-3",
        "extra": {"grant_type": "authorization_code", "redirect_uri": "http://127.0.0.1:8765/callback"},
    },
}
FAULTS: dict[str, dict[str, Any]] = {
    "status": {"status": 503}, "html": {}, "broken_json": {}, "truncate": {}, "drop": {}, "lost_answer": {},
    "login_redirect": {}, "wrong_type": {"value": None},
}  # fmt: skip


def ask(url: str, grant_type: str) -> None:
    settings = settings_of(url, **CONNECTIONS[grant_type])
    grant = grant_for(settings)
    if isinstance(grant, AuthorizationCodeGrant):
        grant.exchange("an-authorization-code-of-somebody", begin(settings).code_verifier)
    elif settings.refresh_token:
        grant.refresh(settings.refresh_token)
    else:
        grant.fetch()


@pytest.mark.parametrize("grant_type", CONNECTIONS)
@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_a_failed_login_shows_no_secret(sandbox: Sandbox, grant_type: str, fault: str | None) -> None:
    if fault:
        sandbox.faults.add(fault, "/oauth/token", **FAULTS[fault])
    elif grant_type in ("client_credentials", "password"):
        sandbox.clients["1"] = sandbox.clients["2"] = sandbox.clients["7"]

    with pytest.raises(GofundoError) as caught:
        ask(sandbox.url, grant_type)

    secrets = ["a-refresh-token-of-somebody", "an-authorization-code-of-somebody"]
    assert exposed(caught.value, secrets) == []


@pytest.mark.parametrize("fault", ["drop", "truncate", "html", "login_redirect"])
def test_a_failed_request_shows_no_token(sandbox: Sandbox, client_of: ClientOf, fault: str) -> None:
    sandbox.faults.add(fault, "/api/", times=None)

    with pytest.raises(GofundoError) as caught:
        client_of(sandbox.url).request("GET", "api/donations")

    assert exposed(caught.value) == []
