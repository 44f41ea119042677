"""Tokens: who gets them, how they die, and that nobody reads them in a log."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import pytest
import requests

from airflow_provider_gofundo.sandbox import Client, Sandbox

MACHINE = {"grant_type": "client_credentials", "client_id": "1", "client_secret": "secret-machine-1"}
USER = {
    "grant_type": "password",
    "client_id": "2",
    "client_secret": "secret-password-2",
    "username": "alice@example.org",
    "password": "alice-password",
}
Pool = Callable[..., Sandbox]


def token(sandbox: Sandbox, **fields: str) -> requests.Response:
    return requests.post(f"{sandbox.url}/oauth/token", data=fields, timeout=10)


def me(sandbox: Sandbox, access_token: str) -> int:
    headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json"}
    return requests.get(f"{sandbox.url}/api/user/me", headers=headers, timeout=10).status_code


def renewal(refresh_token: str) -> dict[str, str]:
    login = {"client_id": "2", "client_secret": "secret-password-2"}
    return {"grant_type": "refresh_token", "refresh_token": refresh_token, **login}


def test_the_process_needs_no_insecure_transport() -> None:
    assert "OAUTHLIB_INSECURE_TRANSPORT" not in os.environ


@pytest.mark.parametrize("scope", ["", " ", "read-donations", "*"])
def test_an_empty_scope_is_no_scope(scope: str, sandbox: Sandbox) -> None:
    assert token(sandbox, **MACHINE, scope=scope).status_code == 200


def test_a_machine_never_gets_a_refresh_token(sandbox: Sandbox) -> None:
    answer = token(sandbox, **MACHINE)
    assert list(answer.json()) == ["token_type", "expires_in", "access_token"]
    assert answer.text.startswith('{"token_type":"Bearer","expires_in":1209600,"access_token":"')


def test_the_body_wins_over_basic_and_the_query_counts_for_nothing(sandbox: Sandbox) -> None:
    url = f"{sandbox.url}/oauth/token?client_secret=wrong&grant_type=password"
    answer = requests.post(url, data=MACHINE, auth=("1", "wrong"), timeout=10)
    assert answer.status_code == 200
    assert (
        requests.post(
            url, data={**MACHINE, "client_secret": "wrong"}, auth=("1", "secret-machine-1"), timeout=10
        ).status_code
        == 401
    )


def test_a_refresh_kills_both_old_tokens_at_once(sandbox: Sandbox) -> None:
    old = token(sandbox, **USER).json()
    assert me(sandbox, old["access_token"]) == 200
    new = token(sandbox, **renewal(old["refresh_token"])).json()
    assert me(sandbox, old["access_token"]) == 401
    assert me(sandbox, new["access_token"]) == 200
    assert token(sandbox, **renewal(old["refresh_token"])).status_code == 401
    assert token(sandbox, **renewal(new["refresh_token"])).status_code == 200


def test_refresh_tokens_die_an_hour_after_access_tokens_two_weeks(sandbox: Sandbox) -> None:
    first, second = token(sandbox, **USER).json(), token(sandbox, **USER).json()
    sandbox.advance(3_590)
    assert token(sandbox, **renewal(first["refresh_token"])).status_code == 200
    sandbox.advance(20)
    late = token(sandbox, **renewal(second["refresh_token"]))
    assert (late.status_code, late.json()["hint"]) == (401, "Token has expired")
    assert me(sandbox, second["access_token"]) == 200
    sandbox.advance(1_209_600)
    assert me(sandbox, second["access_token"]) == 401


def test_lifetimes_are_settings(sandbox: Sandbox) -> None:
    sandbox.settings.access_lifetime = 5
    answer = token(sandbox, **USER).json()
    assert answer["expires_in"] == 5
    sandbox.advance(6)
    assert me(sandbox, answer["access_token"]) == 401


def test_an_authorization_code_expires(pool: Pool) -> None:
    hints = {}
    for league in (8, 9):
        sandbox = pool(league=league)
        url = f"{sandbox.url}/oauth/authorize?response_type=code&client_id=5"
        where = requests.get(url, allow_redirects=False, timeout=10).headers["Location"]
        sandbox.advance(601)
        web = {"client_id": "5", "client_secret": "secret-consent-5", "code": where.split("code=")[1]}
        answer = token(sandbox, grant_type="authorization_code", **web)
        hints[league] = (answer.status_code, answer.json()["error"], answer.json()["hint"])
    assert hints == {
        8: (400, "invalid_request", "Authorization code has expired"),
        9: (400, "invalid_grant", "Authorization code has expired"),
    }


def test_revoking_all_leaves_no_token_alive(sandbox: Sandbox) -> None:
    alive = token(sandbox, **USER).json()
    assert sandbox.revoke_all() >= 2
    assert me(sandbox, alive["access_token"]) == 401
    assert token(sandbox, **renewal(alive["refresh_token"])).json()["hint"] == "Token has been revoked"
    assert sandbox.revoke_all() == 0


def test_the_token_endpoint_is_throttled_by_address(sandbox: Sandbox) -> None:
    sandbox.settings.token_per_minute = 2
    answers = [token(sandbox, **MACHINE) for _ in range(3)]
    assert [a.status_code for a in answers] == [200, 200, 429]
    assert [a.headers["X-RateLimit-Remaining"] for a in answers] == ["1", "0", "0"]
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 60
    assert sandbox.counters.throttled == 1
    assert sandbox.counters.grants == {"client_credentials": 3}


def test_a_throttle_opens_again_after_its_window(sandbox: Sandbox) -> None:
    sandbox.settings.update({"api_per_minute": 1, "throttle_window": 0.2})
    headers = {"Authorization": f"Bearer {sandbox.token()}", "Accept": "application/json"}
    url = f"{sandbox.url}/api/donors"
    first, second = (requests.get(url, headers=headers, timeout=10) for _ in range(2))
    assert (first.status_code, first.headers["X-RateLimit-Remaining"]) == (200, "0")
    assert (second.status_code, second.json()) == (429, {"message": "Too Many Attempts."})
    assert requests.get(f"{sandbox.url}/oauth/token", timeout=10).status_code == 405
    sandbox.reset_throttle()
    assert requests.get(url, headers=headers, timeout=10).status_code == 200


def test_a_client_of_your_own_joins_the_built_in_ones() -> None:
    own = Client("9", "s3cret", "mine", ("client_credentials",))
    with Sandbox(records=1, clients=[own]) as sandbox:
        answer = token(sandbox, grant_type="client_credentials", client_id="9", client_secret="s3cret")
        assert answer.status_code == 200
        assert token(sandbox, **MACHINE).status_code == 200


def test_a_scope_opens_the_scoped_list(sandbox: Sandbox) -> None:
    def status(*scopes: str) -> int:
        headers = {"Authorization": f"Bearer {sandbox.token(scopes=scopes)}", "Accept": "application/json"}
        return requests.get(f"{sandbox.url}/api/scoped/donations", headers=headers, timeout=10).status_code

    assert [status(), status("write-donations"), status("read-donations"), status("*")] == [403, 403, 200, 200]


def test_the_log_holds_no_secret(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("oauthlib", "uvicorn", "uvicorn.access", "airflow_provider_gofundo"):
        caplog.set_level(logging.DEBUG, name)
    answer = token(sandbox, **USER).json()
    renewed = token(sandbox, **renewal(answer["refresh_token"])).json()
    where = f"{sandbox.url}/oauth/authorize?response_type=code&client_id=5"
    caplog.set_level(logging.INFO, "urllib3")
    location = requests.get(where, allow_redirects=False, timeout=10).headers["Location"]
    given = [*answer.values(), *renewed.values(), location.split("code=")[1], "secret-password-2", "alice-password"]
    for secret in (str(value) for value in given if value != "Bearer"):
        assert secret not in caplog.text


def test_nothing_prints_a_secret(sandbox: Sandbox) -> None:
    shown = repr((list(sandbox.clients.values()), sandbox.user, sandbox.requests))
    token(sandbox, **USER)
    shown += repr(sandbox.requests[-1])
    assert "secret-" not in shown
    assert "alice-password" not in shown
