"""A checkup: each step by name, the first trouble in a sentence, and nothing used up."""

from __future__ import annotations

import socket
import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_provider_gofundo.checkup import Finding, checkup
from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.oauth.grants import grant_for
from airflow_provider_gofundo.oauth.manager import TokenManager
from airflow_provider_gofundo.oauth.store import MemoryTokenStore
from airflow_provider_gofundo.oauth.token import Token, now
from airflow_provider_gofundo.sandbox import Sandbox
from tests.fixtures import ClientOf, settings_of
from tests.replay import replay_server

WEB = {"grant_type": "authorization_code", "redirect_uri": "http://127.0.0.1:8765/callback"}
LIST = {"check_endpoint": "api/donations"}


def of_chain(sandbox: Sandbox, token: Token | None, *, seed: str | None = None) -> GofundoClient:
    """A client of a chain with this login in its store."""
    fields = {"grant_type": "refresh_token", "refresh_token": seed} if seed else WEB
    settings = settings_of(sandbox.url, login="3", password="secret-web-3", extra={**fields, **LIST})
    store = MemoryTokenStore()
    if token:
        store.save(token)
    return GofundoClient(settings, TokenManager(grant_for(settings), store))


def login_of(sandbox: Sandbox, *, old: bool = False, refresh: timedelta = timedelta(hours=1)) -> Token:
    """A login whose access token works, or is `old`, and whose refresh token nobody should send."""
    at = now() - timedelta(days=20) if old else now()
    return Token(
        access_token=sandbox.token("3", user=True),
        issued_at=at,
        expires_at=at + timedelta(days=14),
        refresh_token="refresh-token-to-keep",
        refresh_expires_at=now() + refresh,
    )


def steps(findings: list[Finding]) -> list[tuple[str, bool, bool]]:
    return [(finding.step, finding.ok, finding.skipped) for finding in findings]


def refreshes(sandbox: Sandbox) -> list[bytes]:
    return [seen.body for seen in sandbox.requests if b"refresh-token-to-keep" in seen.body]


def test_a_good_connection_passes_every_step(sandbox: Sandbox, client_of: ClientOf) -> None:
    findings = list(checkup(client_of(sandbox.url, extra=LIST)))

    assert steps(findings) == [(name, True, False) for name in ("address", "connection", "login", "list")]
    assert findings[0].text == "127.0.0.1 is an address itself."
    assert findings[1].text == f"{sandbox.url} answers, without TLS, on this machine."
    assert findings[2].text.startswith("client_credentials works, with a token until 20")
    assert findings[3].text == "api/donations answers, with 40 records."


def test_without_a_check_endpoint_the_list_is_skipped(sandbox: Sandbox, client_of: ClientOf) -> None:
    *_, last = checkup(client_of(sandbox.url))

    assert (last.step, last.ok, last.skipped) == ("list", True, True)
    assert "no Check endpoint" in last.text


def test_it_asks_for_nothing_before_the_next_step_is_wanted(sandbox: Sandbox, client_of: ClientOf) -> None:
    findings = checkup(client_of(sandbox.url))
    next(findings)

    assert sandbox.counters.total == 0


def test_whoever_masks_secrets_is_told_the_new_token(sandbox: Sandbox, client_of: ClientOf) -> None:
    told: list[Token] = []

    list(checkup(client_of(sandbox.url, extra=LIST), on_token=told.append))

    assert f"Bearer {told[0].access_token}" == sandbox.requests[-1].headers["authorization"]


# --- the first trouble ends it -----------------------------------------------------------------------------------


def test_a_name_that_is_not_there_fails_at_the_address(client_of: ClientOf) -> None:
    (only,) = checkup(client_of("https://nowhere.invalid"))

    assert steps([only]) == [("address", False, False)]
    assert "No such host: nowhere.invalid. Check Host" in only.text


def test_a_closed_port_fails_at_the_connection(client_of: ClientOf) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        findings = list(checkup(client_of(f"http://127.0.0.1:{taken.getsockname()[1]}")))

    assert steps(findings) == [("address", True, False), ("connection", False, False)]
    assert "Cannot connect" in findings[-1].text
    assert "Check Host and Port" in findings[-1].text


def test_a_certificate_of_a_private_ca_fails_at_the_connection_and_is_mended_by_ca_bundle(
    client_of: ClientOf, certificate: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with replay_server(context) as private:
        refused = list(checkup(client_of(private.url)))
        asked = len(private.asked)
        trusted = list(checkup(client_of(private.url, extra={"ca_bundle": str(certificate)})))

    assert steps(refused)[-1] == ("connection", False, False)
    assert "name the private CA in CA bundle" in refused[-1].text
    assert asked == 0
    assert trusted[1].text.endswith("answers, over TLS.")


def test_a_server_that_points_elsewhere_answers_all_the_same(sandbox: Sandbox, client_of: ClientOf) -> None:
    sandbox.faults.add("redirect", "/oauth/token", method="GET", url="https://www.gofundo.example/")

    findings = list(checkup(client_of(sandbox.url)))

    assert sandbox.requests[0].status == 302
    assert steps(findings)[1] == ("connection", True, False)


@pytest.mark.parametrize("fields", [{"password": "wrong"}, {"extra": {"scope": "no-such-scope"}}])
def test_a_refused_login_fails_at_the_login(sandbox: Sandbox, client_of: ClientOf, fields: dict[str, object]) -> None:
    findings = list(checkup(client_of(sandbox.url, **fields)))

    assert steps(findings)[-1] == ("login", False, False)
    assert "Instellingen > API-koppeling" in findings[-1].text


def test_a_list_that_is_not_there_fails_at_the_list(sandbox: Sandbox, client_of: ClientOf) -> None:
    findings = list(checkup(client_of(sandbox.url, extra={"check_endpoint": "api/nothing"})))

    assert steps(findings)[-1] == ("list", False, False)
    assert "GET api/nothing answered 404" in findings[-1].text


# --- a chain of refresh tokens -------------------------------------------------------------------------------------


def test_a_stored_login_of_a_chain_reads_the_list_and_keeps_its_refresh_token(sandbox: Sandbox) -> None:
    with of_chain(sandbox, login_of(sandbox)) as client:
        findings = list(checkup(client))

    assert steps(findings)[2:] == [("login", True, False), ("list", True, False)]
    assert findings[2].text.startswith("authorization_code has a stored login, with a token until 20")
    assert refreshes(sandbox) == []


def test_a_stored_login_that_the_server_refuses_is_told_and_not_refreshed(sandbox: Sandbox) -> None:
    with of_chain(sandbox, login_of(sandbox)) as client:
        sandbox.revoke_all()
        findings = list(checkup(client))

    assert steps(findings)[-1] == ("list", False, False)
    assert "The server refuses the stored login" in findings[-1].text
    assert refreshes(sandbox) == []


def test_of_a_chain_whose_token_has_expired_only_the_client_is_checked(sandbox: Sandbox) -> None:
    with of_chain(sandbox, login_of(sandbox, old=True)) as client:
        findings = list(checkup(client))

    assert steps(findings)[2:] == [("login", True, False), ("list", True, True)]
    assert findings[2].text.startswith("The server knows this client.")
    assert refreshes(sandbox) == []


@pytest.mark.parametrize("expired", [True, False])
def test_a_chain_that_has_ended_or_never_begun_needs_a_person(sandbox: Sandbox, expired: bool) -> None:
    token = login_of(sandbox, old=True, refresh=-timedelta(seconds=1)) if expired else None
    with of_chain(sandbox, token) as client:
        findings = list(checkup(client))

    assert steps(findings)[-1] == ("login", False, False)
    assert "somebody has to log in to Gofundo. Press Authorize" in findings[-1].text


def test_a_client_that_is_refused_is_told_by_the_grant_type_of_the_form(
    client_of: ClientOf, sandbox: Sandbox
) -> None:
    *_, last = checkup(client_of(sandbox.url, login="3", password="wrong", extra=WEB))

    assert (last.step, last.ok) == ("login", False)
    assert last.text.startswith("The server refuses the authorization_code login (invalid_client). Compare Client ID")


def test_the_first_refresh_token_of_a_chain_is_left_alone(sandbox: Sandbox) -> None:
    with of_chain(sandbox, None, seed="refresh-token-to-keep") as client:
        findings = list(checkup(client))

    assert steps(findings)[2:] == [("login", True, False), ("list", True, True)]
    assert refreshes(sandbox) == []
