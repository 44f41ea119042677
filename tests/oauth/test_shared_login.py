"""One login for all workers: what is stored, what is not trusted, and what happens when two renew."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.exceptions import GofundoApiError, GofundoReauthorizationRequired, GofundoStorageError
from airflow_provider_gofundo.oauth import record
from airflow_provider_gofundo.oauth.grants import RefreshTokenGrant, grant_for
from airflow_provider_gofundo.oauth.lease import Lease
from airflow_provider_gofundo.oauth.manager import TokenManager
from airflow_provider_gofundo.oauth.store import SharedTokenStore
from airflow_provider_gofundo.oauth.token import Token
from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.settings import Settings
from tests.fixtures import ClientOf, Waits, settings_of
from tests.replay import TOKEN as TOKEN_ANSWER
from tests.replay import Answer, Replay

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
TOKEN = Token(
    access_token="an-access-token",
    issued_at=NOW,
    expires_at=NOW + timedelta(days=14),
    refresh_token="a-refresh-token",
    refresh_expires_at=NOW + timedelta(hours=1),
)
PASSWORD = {"grant_type": "password", "username": "alice@example.org", "user_password": "alice-password"}


class Cell:
    """A place for one text that everybody in this process shares."""

    def __init__(self, text: str = "") -> None:
        self.text = text

    def read(self) -> str:
        return self.text

    def write(self, text: str) -> None:
        self.text = text


def test_a_stored_token_comes_back_as_old_as_it_is() -> None:
    assert record.load(record.dump(TOKEN, "f"), "f") == TOKEN


@pytest.mark.parametrize(
    "change",
    [
        {"password": "another"}, {"login": "2"}, {"host": "https://other.example"}, {"extra": {"scope": "a"}},
        {"extra": PASSWORD}, {"extra": {**PASSWORD, "username": "bob@example.org"}},
        {"extra": {**PASSWORD, "user_password": "changed"}},
        {"extra": {"grant_type": "refresh_token", "refresh_token": "pasted-anew"}},
        {"extra": {"grant_type": "authorization_code", "redirect_uri": "https://a.example/cb"}},
    ],
)  # fmt: skip
def test_changed_credentials_never_meet_an_old_token(change: dict[str, Any]) -> None:
    stored = record.dump(TOKEN, record.fingerprint(settings_of("https://gofundo.nl")))

    assert record.load(stored, record.fingerprint(settings_of(**{"host": "https://gofundo.nl", **change}))) is None


def test_the_timeout_is_none_of_the_token_s_business() -> None:
    assert record.fingerprint(settings_of()) == record.fingerprint(settings_of(extra={"timeout": 5}))


def altered(**fields: Any) -> str:
    return json.dumps({**json.loads(record.dump(TOKEN, "f")), **fields})


@pytest.mark.parametrize(
    "text",
    [
        "", "not JSON", "[]", "null", '"a-token"', "{}", altered(version=0), altered(version=2),
        altered(issued_at="yesterday"), altered(issued_at="2026-11-23T12:00:00"), altered(access_token=None),
    ],
)  # fmt: skip
def test_what_is_not_a_token_of_this_version_is_not_there(text: str) -> None:
    assert record.load(text, "f") is None


def test_foreign_content_is_replaced(sandbox: Sandbox, waits: Waits) -> None:
    cell = Cell("something else")
    manager = manager_of(settings_of(sandbox.url), cell, waits)

    token = manager.token()

    assert manager.state() == token
    assert "something else" not in cell.text


def manager_of(settings: Settings, cell: Cell, waits: Waits) -> TokenManager:
    store = SharedTokenStore(cell, record.fingerprint(settings))
    turn = Lease(_turn_of(cell), life=90, sleep=waits)
    return TokenManager(grant_for(settings), store, turn=turn, sleep=waits)


_turns: dict[int, Cell] = {}


def _turn_of(cell: Cell) -> Cell:
    return _turns.setdefault(id(cell), Cell())


@pytest.fixture
def two_workers(sandbox: Sandbox, waits: Waits) -> tuple[GofundoClient, GofundoClient]:
    """Two workers of one connection with the password grant."""
    settings = settings_of(sandbox.url, login="2", password="secret-password-2", extra=PASSWORD)
    cell = Cell()
    one, other = (GofundoClient(settings, manager_of(settings, cell, waits), sleep=waits) for _ in range(2))
    return one, other


def get(client: GofundoClient) -> int:
    return client.request("GET", "api/user/me").status_code


def test_the_second_worker_uses_the_first_one_s_login(
    sandbox: Sandbox, two_workers: tuple[GofundoClient, GofundoClient]
) -> None:
    assert [get(client) for client in two_workers] == [200, 200]
    assert dict(sandbox.counters.grants) == {"password": 1}


def test_a_worker_whose_token_was_revoked_by_another_s_refresh_goes_on_with_the_new_one(
    sandbox: Sandbox, two_workers: tuple[GofundoClient, GofundoClient]
) -> None:
    one, other = two_workers
    get(one), get(other)

    one.refresh_login()

    assert get(other) == 200
    assert dict(sandbox.counters.grants) == {"password": 1, "refresh_token": 1}


def test_an_expired_login_is_refreshed_once_while_its_refresh_token_lives(
    sandbox: Sandbox, two_workers: tuple[GofundoClient, GofundoClient]
) -> None:
    get(two_workers[0])
    sandbox.faults.add("status", "/api/user/me", status=401)

    assert get(two_workers[0]) == 200
    assert dict(sandbox.counters.grants) == {"password": 1, "refresh_token": 1}


def test_a_lost_refresh_is_followed_by_the_own_grant_and_never_by_the_same_refresh(
    sandbox: Sandbox, two_workers: tuple[GofundoClient, GofundoClient]
) -> None:
    one, other = two_workers
    get(one), get(other)
    sandbox.faults.add("lost_answer", "/oauth/token")

    assert one.refresh_login()
    assert [get(one), get(other)] == [200, 200]

    assert dict(sandbox.counters.grants) == {"password": 2, "refresh_token": 1}


def test_a_chain_whose_refresh_was_lost_asks_for_a_person(sandbox: Sandbox, waits: Waits) -> None:
    first = grant_for(settings_of(sandbox.url, login="2", password="secret-password-2", extra=PASSWORD)).fetch()
    chain = {"grant_type": "refresh_token", "refresh_token": first.refresh_token}
    settings = settings_of(sandbox.url, login="2", password="secret-password-2", extra=chain)
    client = GofundoClient(settings, manager_of(settings, Cell(), waits), sleep=waits)
    sandbox.faults.add("lost_answer", "/oauth/token")

    for _ in range(2):
        with pytest.raises(GofundoReauthorizationRequired, match="Put a new one into Refresh token"):
            get(client)

    assert sandbox.counters.grants["refresh_token"] == 1


def test_a_chain_begins_with_the_connection_s_refresh_token_and_goes_on_by_itself(
    sandbox: Sandbox, waits: Waits
) -> None:
    first = grant_for(settings_of(sandbox.url, login="2", password="secret-password-2", extra=PASSWORD)).fetch()
    chain = {"grant_type": "refresh_token", "refresh_token": first.refresh_token}
    settings = settings_of(sandbox.url, login="2", password="secret-password-2", extra=chain)
    cell = Cell()

    for _ in range(3):  # three workers, one after the other
        client = GofundoClient(settings, manager_of(settings, cell, waits), sleep=waits)
        assert get(client) == 200
        client.refresh_login()

    assert sandbox.counters.grants["refresh_token"] == 4


def test_a_turn_goes_to_one_and_ends_by_itself() -> None:
    cell, time = Cell(), [NOW]

    def lease(sleep: Callable[[float], None] = lambda _: None) -> Lease:
        return Lease(cell, life=60, clock=lambda: time[0], sleep=sleep)

    one, other = lease(), lease()

    assert one.acquire()
    assert not other.acquire()
    time[0] += timedelta(seconds=61)  # one has died
    assert other.acquire()
    one.release()  # or had not, and comes back late
    assert not lease().acquire()
    other.release()
    assert lease().acquire()


def test_of_two_who_find_it_free_at_once_the_last_to_write_has_it() -> None:
    class SlowCell(Cell):
        """Its first two readers look before anybody has written."""

        early = 2

        def read(self) -> str:
            self.early -= 1
            return "" if self.early >= 0 else super().read()

    cell = SlowCell()
    last = Lease(cell, life=60, sleep=lambda _: None)
    won: list[bool] = []
    first = Lease(cell, life=60, sleep=lambda _: won.append(last.acquire()))

    assert [first.acquire(), *won] == [False, True]


def test_the_wait_before_looking_again_is_longer_than_a_write_takes() -> None:
    class SlowToWrite(Cell):
        def write(self, text: str) -> None:
            time.sleep(0.5)
            super().write(text)

    waits = Waits()
    Lease(Cell(), life=60, sleep=waits).acquire()
    Lease(SlowToWrite(), life=60, sleep=waits).acquire()

    assert waits[0] >= 1
    assert waits[1] >= 1.5


def test_a_turn_that_cannot_be_written_is_an_error_of_ours_and_one_that_cannot_be_given_back_ends_by_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing(Cell):
        fails = False

        def write(self, text: str) -> None:
            if self.fails:
                raise OSError("database is locked")
            super().write(text)

    cell = Failing()
    turn = Lease(cell, life=60, sleep=lambda _: None)
    assert turn.acquire()

    cell.fails = True
    turn.release()
    assert "could not be given back (OSError)" in caplog.text
    with pytest.raises(GofundoStorageError, match="OSError"):
        turn.acquire()


@pytest.mark.parametrize("text", ["abc 9999-01-01T00:00:00+00:00", "x", "abc not-a-time", "abc 2026-11-23T00:00:00"])
def test_a_turn_that_nobody_can_have_is_not_waited_for(text: str) -> None:
    assert Lease(Cell(text), life=60, sleep=lambda _: None).acquire()


def a_chain(sandbox: Sandbox, **more: Any) -> Settings:
    first = grant_for(settings_of(sandbox.url, login="2", password="secret-password-2", extra=PASSWORD)).fetch()
    extra = {"grant_type": "refresh_token", "refresh_token": first.refresh_token, **more}
    return settings_of(sandbox.url, login="2", password="secret-password-2", extra=extra)


def test_a_pair_that_cannot_be_stored_is_kept_by_the_process_that_has_it(
    sandbox: Sandbox, waits: Waits, caplog: pytest.LogCaptureFixture
) -> None:
    class FailsAfterTheStrikeOff(Cell):
        writes = 0

        def write(self, text: str) -> None:
            self.writes += 1
            if self.writes > 1:
                raise OSError("gone")
            super().write(text)

    settings = a_chain(sandbox)
    client = GofundoClient(settings, manager_of(settings, FailsAfterTheStrikeOff(), waits), sleep=waits)

    assert [get(client), get(client)] == [200, 200]
    assert "Only this process has it now" in caplog.text


@pytest.mark.parametrize("status", [429, 503, 404, 405, 403])
def test_a_refresh_that_never_reached_the_grant_leaves_the_chain_alive(
    sandbox: Sandbox, waits: Waits, status: int
) -> None:
    settings = a_chain(sandbox)
    client = GofundoClient(settings, manager_of(settings, Cell(), waits), sleep=waits)
    sandbox.faults.add("status", "/oauth/token", status=status)

    with suppress(GofundoApiError):
        get(client)

    assert get(client) == 200


def test_an_error_code_with_a_server_s_failure_is_no_refusal(replay: Replay, client_of: ClientOf) -> None:
    failed = Answer(status=500, body=b'{"error":"server_error","message":"x"}')
    replay.tokens = [failed, failed, TOKEN_ANSWER]
    replay.answer(Answer(body=b"{}"))

    assert client_of(replay.url).request("GET", "api/list").status_code == 200


def test_a_login_by_a_person_outlives_a_worker_s_failed_refresh(sandbox: Sandbox, waits: Waits) -> None:
    settings = a_chain(sandbox)
    cell = Cell()
    worker, person = manager_of(settings, cell, waits), manager_of(settings, cell, waits)
    login = grant_for(settings_of(sandbox.url, login="2", password="secret-password-2", extra=PASSWORD)).fetch()
    store = SharedTokenStore(cell, record.fingerprint(settings))

    class LogsInMeanwhile(RefreshTokenGrant):
        def refresh(self, refresh_token: str) -> Token:
            store.save(login)  # as `adopt` does when its turn has come
            raise GofundoApiError("down", status=503)

    worker = TokenManager(LogsInMeanwhile(settings), store, sleep=waits)
    with pytest.raises(GofundoApiError):
        worker.token()

    assert person.token() == login


def test_a_used_seed_is_not_sent_again_though_the_variable_was_deleted(sandbox: Sandbox, waits: Waits) -> None:
    settings = a_chain(sandbox)
    cell = Cell()
    manager_of(settings, cell, waits).token()
    cell.text = ""

    with pytest.raises(GofundoReauthorizationRequired, match="has been used"):
        manager_of(settings, cell, waits).token()

    assert sandbox.counters.grants["refresh_token"] == 1


def test_a_store_for_which_something_else_answers_costs_no_refresh_token(sandbox: Sandbox, waits: Waits) -> None:
    class Shadowed(Cell):
        def read(self) -> str:
            return "foreign"

    settings = a_chain(sandbox)

    with pytest.raises(GofundoStorageError, match="secrets backend"):
        manager_of(settings, Shadowed(), waits).token()

    assert "refresh_token" not in sandbox.counters.grants
