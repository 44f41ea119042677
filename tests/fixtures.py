"""Fixtures: a sandbox, and clients of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.oauth.grants import grant_for
from airflow_provider_gofundo.oauth.manager import TokenManager
from airflow_provider_gofundo.oauth.store import MemoryTokenStore
from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.settings import Settings
from tests.replay import Replay, replay_server

MACHINE = {"login": "1", "password": "secret-machine-1"}


def connection(host: str | None = None, **fields: Any) -> Any:
    """An Airflow Connection as far as Settings looks; `extra` may be a dict."""
    extra = fields.pop("extra", None)
    values = {"conn_id": "gofundo_default", "host": host, "port": None, "schema": None, **MACHINE, **fields}
    return SimpleNamespace(**values, extra=json.dumps(extra) if isinstance(extra, dict) else extra)


def settings_of(host: str | None = None, **fields: Any) -> Settings:
    return Settings.from_connection(connection(host, **fields))


class Waits(list[float]):
    """A sleep that only writes down how long it was asked for."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(records=40) as running:
        yield running


@pytest.fixture
def replay() -> Iterator[Replay]:
    with replay_server() as running:
        yield running


ClientOf = Callable[..., GofundoClient]


@pytest.fixture
def client_of(waits: Waits) -> Iterator[ClientOf]:
    """Make a client for a URL, with the connection's further fields."""
    made: list[GofundoClient] = []

    def make(host: str, **fields: Any) -> GofundoClient:
        settings = settings_of(host, **fields)
        made.append(GofundoClient(settings, TokenManager(grant_for(settings), MemoryTokenStore()), sleep=waits))
        return made[-1]

    yield make
    for client in made:
        client.__exit__()


@pytest.fixture
def client(sandbox: Sandbox, client_of: ClientOf) -> GofundoClient:
    return client_of(sandbox.url)


Connect = Callable[..., None]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, waits: Waits) -> Connect:
    """Make a URL the Airflow connection gofundo_default; what Airflow's classes do with it waits without waiting."""
    monkeypatch.setattr("airflow_provider_gofundo.client.client.GofundoClient", partial(GofundoClient, sleep=waits))

    def make(host: str, *, extra: dict[str, Any] | None = None, **fields: Any) -> None:
        values = {"conn_type": "gofundo", "host": host, **MACHINE, **fields}
        values["extra"] = {"share_login": False, **(extra or {})}
        monkeypatch.setenv("AIRFLOW_CONN_GOFUNDO_DEFAULT", json.dumps(values))

    return make


def pytest_sessionfinish() -> None:
    shutil.rmtree(os.environ["AIRFLOW_HOME"], ignore_errors=True)
