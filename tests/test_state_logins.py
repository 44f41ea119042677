"""What is known of every login, and who got it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_gofundo.oauth import record
from airflow_provider_gofundo.oauth.store import SharedTokenStore
from airflow_provider_gofundo.oauth.token import Token
from airflow_provider_gofundo.state.login import renewer, renewing_as, shared_login
from airflow_provider_gofundo.state.logins import LoginState, gofundo_connections, login_state, settings_of

NOW = datetime(2026, 11, 23, tzinfo=timezone.utc)
TOKEN = Token(
    access_token="a-token-of-nobody",
    issued_at=NOW,
    expires_at=NOW + timedelta(days=14),
    refresh_token="a-refresh-token-of-nobody",
    refresh_expires_at=NOW + timedelta(hours=1),
)


@pytest.fixture(scope="module", autouse=True)
def _database() -> None:
    from airflow.utils.db import initdb

    initdb()


def connect(monkeypatch: pytest.MonkeyPatch, conn_id: str, **extra: Any) -> None:
    fields = {"conn_type": "gofundo", "login": "1", "password": "secret-machine-1", "extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))


def test_a_stored_login_is_known_with_its_times_and_who_got_it(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "known", grant_type="client_credentials")
    with renewing_as("user olga on the Authorize page"):
        shared_login(settings_of("known"))[0].save(TOKEN)

    assert login_state("known") == LoginState(
        conn_id="known",
        grant_type="client_credentials",
        renewed_at=NOW,
        valid_until=NOW + timedelta(days=14),
        refreshable_until=NOW + timedelta(hours=1),
        renewed_by="user olga on the Authorize page",
    )
    assert "of-nobody" not in repr(login_state("known"))


def test_a_login_of_other_credentials_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "changed")
    shared_login(settings_of("changed"))[0].save(TOKEN)
    connect(monkeypatch, "changed", scope="read-donations")

    assert login_state("changed") == LoginState(conn_id="changed", grant_type="client_credentials")


def test_a_chain_that_nobody_got_a_token_of_is_no_login_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "begun", grant_type="refresh_token", refresh_token="the-first-of-its-chain")
    shared_login(settings_of("begun"))[0].save(Token.seed("the-first-of-its-chain", at=NOW))

    assert login_state("begun") == LoginState(conn_id="begun", grant_type="refresh_token")


def test_of_a_login_that_is_not_shared_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "alone", share_login=False)

    assert login_state("alone") == LoginState(conn_id="alone", grant_type="client_credentials", shared=False)


@pytest.mark.parametrize(
    ("conn_id", "text", "problem"),
    [
        ("missing", None, "cannot be read; is there one of that name?"),
        ("broken", '{"conn_type": "gofundo", "login": "1"}', "Client Secret is empty"),
        ("no_json", '{"conn_type"', "cannot be read"),
    ],
)
def test_a_bad_connection_is_told_and_never_raises(
    monkeypatch: pytest.MonkeyPatch, conn_id: str, text: str | None, problem: str
) -> None:
    if text:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", text)

    assert problem in login_state(conn_id).problem


@pytest.fixture
def _in_database() -> Iterator[None]:
    from airflow.models import Connection
    from airflow.utils.session import create_session

    connections = {"In_Database": "gofundo", "in_database_too": "http"}
    with create_session() as session:
        session.add_all([Connection(conn_id=conn_id, conn_type=kind) for conn_id, kind in connections.items()])
    yield
    with create_session() as session:
        session.query(Connection).filter(Connection.conn_id.in_(connections)).delete()


@pytest.mark.usefixtures("_in_database")
def test_connections_are_found_in_the_database_and_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "in_environment")
    connect(monkeypatch, "in_database")
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", "http://example.org")
    monkeypatch.setenv("AIRFLOW_CONN_NOT_ONE", "{")

    found = gofundo_connections()

    assert [conn_id for conn_id in found if conn_id.lower().startswith(("in_", "other", "not_"))] == [
        "In_Database",
        "in_environment",
    ]


class Cell:
    """A place for one text."""

    text = ""

    def read(self) -> str:
        return self.text

    def write(self, text: str) -> None:
        self.text = text


def test_a_refresh_token_that_is_struck_off_does_not_change_who_got_the_token() -> None:
    cell = Cell()
    SharedTokenStore(cell, "f", who=lambda: "the first").save(TOKEN)
    second = SharedTokenStore(cell, "f", who=lambda: "the second")

    loaded = second.load()
    second.save(TOKEN.spent())
    assert loaded == TOKEN
    assert record.renewed_by(cell.text, "f") == "the first"

    second.save(Token(access_token="another-of-nobody", issued_at=NOW, expires_at=None))
    assert record.renewed_by(cell.text, "f") == "the second"


def test_a_record_from_before_there_were_names_is_read() -> None:
    old = json.loads(record.dump(TOKEN, "f"))
    del old["renewed_by"]

    assert record.load(json.dumps(old), "f") == TOKEN
    assert record.renewed_by(json.dumps(old), "f") == ""


def test_who_gets_a_token_is_the_running_task_or_whoever_is_said_to_be() -> None:
    from airflow.sdk.execution_time.context import set_current_context

    task: Any = {"ti": SimpleNamespace(dag_id="nightly", run_id="scheduled__2026", task_id="pull")}

    assert renewer() == "the command line"
    with set_current_context(task):
        assert renewer() == "dag nightly, run scheduled__2026, task pull"
        with renewing_as("user olga"):
            assert renewer() == "user olga"
    assert renewer() == "the command line"
