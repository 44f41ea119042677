"""A pull stays complete whatever happens to its tokens meanwhile."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.dataset.pull import Summary
from airflow_provider_gofundo.oauth.grants import grant_for
from airflow_provider_gofundo.oauth.manager import TokenManager
from airflow_provider_gofundo.oauth.record import fingerprint
from airflow_provider_gofundo.oauth.store import MemoryTokenStore, SharedTokenStore
from airflow_provider_gofundo.oauth.token import Token
from airflow_provider_gofundo.sandbox import Sandbox
from tests.fixtures import Waits, pull, settings_of

ALICE = {"username": "alice@example.org", "user_password": "alice-password"}
GRANTS: dict[str, dict[str, Any]] = {
    "client_credentials": {},
    "password": {"login": "2", "password": "secret-password-2", "extra": {"grant_type": "password", **ALICE}},
}


def worker(sandbox: Sandbox, fields: dict[str, Any]) -> GofundoClient:
    settings = settings_of(sandbox.url, **fields)
    return GofundoClient(settings, TokenManager(grant_for(settings), MemoryTokenStore()), sleep=lambda _: None)


def pull_all(client: GofundoClient, path: Path) -> Summary:
    return pull(client, "api/donations", UPath(path), query_params={"per_page": 1})


def assert_whole(summary: Summary, client: GofundoClient) -> None:
    assert summary.records == summary.total == 40
    assert client.tokens.state()


def test_a_pull_of_twenty_seconds_outlives_tokens_of_three(tmp_path: Path) -> None:
    def run(grant_type: str) -> None:
        with Sandbox(records=40, access_lifetime=3, latency_ms=500) as sandbox:
            client = worker(sandbox, GRANTS[grant_type])
            began = time.monotonic()

            assert_whole(pull_all(client, tmp_path / grant_type), client)

            assert time.monotonic() - began >= 20
            # Each token is used for nine tenths of its life.
            assert 6 <= sum(sandbox.counters.grants.values()) <= 10
            assert sandbox.counters.statuses[401] == 0

    with ThreadPoolExecutor() as pool:
        list(pool.map(run, GRANTS))


@pytest.mark.parametrize("grant_type", GRANTS)
def test_tokens_revoked_five_times_cost_one_replay_each(sandbox: Sandbox, tmp_path: Path, grant_type: str) -> None:
    for nth in range(5):
        sandbox.faults.add("revoke", "/api/donations", after=3 * nth)
    client = worker(sandbox, GRANTS[grant_type])

    assert_whole(pull_all(client, tmp_path), client)

    assert [seen.status for seen in sandbox.requests if seen.path == "/api/donations"].count(401) == 5
    assert sandbox.counters.requests["GET /api/donations"] == 45


def test_a_token_renewed_by_others_before_its_first_request_is_no_refusal(sandbox: Sandbox) -> None:
    class Overtaken(TokenManager):
        """As if somebody else refreshed the same login right after this process has."""

        def is_own(self, token: Token) -> bool:
            own = super().is_own(token)
            self.refresh()
            return own

    settings = settings_of(sandbox.url, **GRANTS["password"])
    client = GofundoClient(settings, Overtaken(grant_for(settings), MemoryTokenStore()), sleep=lambda _: None)
    client.tokens.token()
    sandbox.faults.add("status", "/api/donations", status=401)  # as if expired, while the refresh token lives

    assert client.request("GET", "api/donations").status_code == 200

    assert sandbox.counters.grants["refresh_token"] == 2
    assert [seen.status for seen in sandbox.requests if seen.path == "/api/donations"] == [401, 401, 200]


def test_lost_refresh_answers_are_followed_by_the_password(sandbox: Sandbox, tmp_path: Path) -> None:
    client = worker(sandbox, GRANTS["password"])
    client.tokens.token()
    for nth in (10, 20):  # as if expired, while the refresh token lives
        sandbox.faults.add("status", "/api/donations", status=401, after=nth)
    sandbox.faults.add("lost_answer", "/oauth/token", times=1)

    assert_whole(pull_all(client, tmp_path), client)

    refreshes = [seen.form["refresh_token"] for seen in sandbox.requests if seen.form.get("refresh_token")]
    assert len(refreshes) == len(set(refreshes)) == 2
    assert sandbox.counters.grants["password"] == 2  # at first, and after the answer that was lost


class Cell:
    """What an Airflow Variable is: one text, written and read by everybody."""

    def __init__(self) -> None:
        self.text = ""

    def read(self) -> str:
        return self.text

    def write(self, text: str) -> None:
        self.text = text


def test_two_pulls_on_one_chain_that_each_refresh_are_both_whole(sandbox: Sandbox, tmp_path: Path) -> None:
    first = worker(sandbox, GRANTS["password"]).tokens.token()
    chain = {"grant_type": "refresh_token", "refresh_token": first.refresh_token}
    settings = settings_of(sandbox.url, login="2", password="secret-password-2", extra=chain)
    cell, turn, waits = Cell(), threading.Lock(), Waits()
    sandbox.settings.latency_ms = 10

    class Turn:
        life = 60.0

        def acquire(self) -> bool:
            return turn.acquire(timeout=0.01)

        def release(self) -> None:
            if turn.locked():
                turn.release()

    def pull_and_refresh(name: str) -> Summary:
        tokens = TokenManager(
            grant_for(settings), SharedTokenStore(cell, fingerprint(settings)), turn=Turn(), sleep=waits
        )
        client = GofundoClient(settings, tokens, sleep=lambda _: None)
        refresher = threading.Thread(target=lambda: [client.refresh_login() for _ in range(5)])
        refresher.start()
        summary = pull_all(client, tmp_path / name)
        refresher.join()
        return summary

    with ThreadPoolExecutor() as pool:
        summaries = list(pool.map(pull_and_refresh, ["one", "other"]))

    assert [summary.records for summary in summaries] == [40, 40]
    sent = [seen.form["refresh_token"] for seen in sandbox.requests if seen.form.get("refresh_token")]
    assert len(sent) == len(set(sent)) >= 3
