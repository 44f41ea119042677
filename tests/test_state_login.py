"""The login in Airflow's Variables: encrypted, masked, never stale, and never in the way where there are none."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.sdk import SecretCache

from airflow_provider_gofundo.exceptions import GofundoStorageError
from airflow_provider_gofundo.oauth.grants import grant_for
from airflow_provider_gofundo.oauth.manager import TokenManager
from airflow_provider_gofundo.oauth.token import Token
from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.settings import Settings
from airflow_provider_gofundo.state import login
from airflow_provider_gofundo.state.login import OrMemory, shared_login
from airflow_provider_gofundo.state.variables import VariableCell
from tests.fixtures import Waits, settings_of

NOW = datetime(2026, 11, 23, tzinfo=timezone.utc)
TOKEN = Token(access_token="a-token-of-nobody", issued_at=NOW, expires_at=NOW + timedelta(days=14))


@pytest.fixture(scope="module", autouse=True)
def _database() -> None:
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def settings(sandbox: Sandbox, request: pytest.FixtureRequest) -> Settings:
    """A connection of this test alone."""
    return settings_of(sandbox.url, conn_id=request.node.name)


def test_a_login_is_stored_under_its_documented_name_and_encrypted(settings: Settings) -> None:
    from airflow.models import Variable
    from airflow.utils.session import create_session

    shared_login(settings)[0].save(TOKEN)

    with create_session() as session:
        row: Any = session.query(Variable).filter(Variable.key == f"gofundo_token__{settings.conn_id}").one()
        assert row.is_encrypted
        assert TOKEN.access_token not in row._val
    assert shared_login(settings)[0].load() == TOKEN


@pytest.mark.parametrize("suffix", ["", "__turn"])
def test_airflow_masks_variables_of_that_name(suffix: str) -> None:
    from airflow.sdk._shared.secrets_masker import should_hide_value_for_key

    assert should_hide_value_for_key(f"gofundo_token__gofundo_default{suffix}")  # type: ignore[no-untyped-call]


def test_a_value_that_airflow_has_cached_is_not_believed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    cache: dict[str, str] = {}
    monkeypatch.setattr(SecretCache, "invalidate_variable", lambda key, **_: cache.pop(key, None))
    cell = VariableCell("gofundo_token__cached")
    cell.write("new")
    cache["gofundo_token__cached"] = "stale"

    assert cell.read() == "new"
    assert cache == {}


class Broken:
    """A place that cannot be reached."""

    def read(self) -> str:
        raise OSError("no database here")

    def write(self, text: str) -> None:
        raise OSError("no database here")


class ReadOnly(Broken):
    """A place that can be looked at."""

    def read(self) -> str:
        return ""


@pytest.mark.parametrize("cell", [Broken(), ReadOnly()])
def test_where_variables_cannot_be_written_memory_takes_their_place_with_one_warning(
    cell: Any, caplog: pytest.LogCaptureFixture
) -> None:
    login._warn.cache_clear()
    place = OrMemory(cell)

    with caplog.at_level(logging.WARNING):
        for text in ("one", "two"):
            place.write(text)
            assert place.read() == text

    assert [record.message for record in caplog.records] == [
        "Airflow's Variables cannot be reached from here (OSError), so this process has a login of its own."
    ]


@pytest.mark.parametrize("grant_type", ["client_credentials", "refresh_token"])
def test_only_who_can_log_in_anew_goes_on_without_variables(
    sandbox: Sandbox, waits: Waits, monkeypatch: pytest.MonkeyPatch, grant_type: str
) -> None:
    monkeypatch.setattr(login, "VariableCell", lambda _: Broken())
    extra = {"grant_type": grant_type, "refresh_token": "x"}
    settings = settings_of(sandbox.url, extra=extra)
    store, turn = shared_login(settings)
    manager = TokenManager(grant_for(settings), store, turn=turn, sleep=waits)

    if grant_type == "client_credentials":
        assert manager.token()
    else:  # beginning the chain again would use up a refresh token that may be spent
        with pytest.raises(GofundoStorageError, match=r"could not be read from Airflow's Variables \(OSError\)"):
            manager.token()
        assert not sandbox.counters.grants
