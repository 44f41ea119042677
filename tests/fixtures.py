"""Fixtures: a sandbox, and clients of it."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.client.rate import Pace
from airflow_provider_gofundo.dataset import pull as pulls
from airflow_provider_gofundo.dataset.manifest import Directory
from airflow_provider_gofundo.dataset.pull import Summary
from airflow_provider_gofundo.dataset.recipe import Recipe
from airflow_provider_gofundo.oauth.grants import grant_for
from airflow_provider_gofundo.oauth.manager import TokenManager
from airflow_provider_gofundo.oauth.store import MemoryTokenStore
from airflow_provider_gofundo.pages import walk as walks
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

    def clock(self) -> float:
        """A clock on which they have passed."""
        return time.monotonic() + sum(self)

    def client(self, settings: Settings, tokens: TokenManager) -> GofundoClient:
        """A client that waits without waiting."""
        pace = Pace(settings.requests_per_minute, clock=self.clock)
        return GofundoClient(settings, tokens, sleep=self, pace=pace)


def waiting_client(settings: Settings) -> GofundoClient:
    """A client that really waits, at a pace of its own."""
    tokens = TokenManager(grant_for(settings), MemoryTokenStore())
    return GofundoClient(settings, tokens, pace=Pace(settings.requests_per_minute))


def until(condition: Callable[[], object]) -> None:
    """Wait for something that another thread does."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.005)


def walking_threads() -> list[str]:
    """The threads of walks that are alive; a sandbox has one of another name."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("gofundo_")]


@pytest.fixture(autouse=True)
def _every_server_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let walks look ahead at once: how quick a sandbox is in the test's own process shall decide nothing."""
    monkeypatch.setattr(walks, "WORTHWHILE", 0.0)


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


OF_THE_PULL = ("checkpoints", "watermarks", "count", "clock")


def pull(client: GofundoClient, endpoint: str, path: Directory, **options: Any) -> Summary:
    """
    Pull a list; the options are those of `pull` and of its recipe.

    One request at a time unless told otherwise, so that it is known which one meets a fault.
    """
    options = {"parallel": 1, **options}
    own = {name: options.pop(name) for name in OF_THE_PULL if name in options}
    return pulls.pull(client, Recipe(endpoint=endpoint, **options), path, **own)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody but its own file vouches for, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(
        made.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file


ClientOf = Callable[..., GofundoClient]


@pytest.fixture
def client_of(waits: Waits) -> Iterator[ClientOf]:
    """Make a client for a URL, with the connection's further fields."""
    made: list[GofundoClient] = []

    def make(host: str, **fields: Any) -> GofundoClient:
        settings = settings_of(host, **fields)
        made.append(waits.client(settings, TokenManager(grant_for(settings), MemoryTokenStore())))
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
    monkeypatch.setattr("airflow_provider_gofundo.client.client.GofundoClient", waits.client)

    def make(host: str, *, extra: dict[str, Any] | None = None, **fields: Any) -> None:
        values = {"conn_type": "gofundo", "host": host, **MACHINE, **fields}
        values["extra"] = {"share_login": False, **(extra or {})}
        monkeypatch.setenv("AIRFLOW_CONN_GOFUNDO_DEFAULT", json.dumps(values))

    return make


def pytest_sessionfinish() -> None:
    shutil.rmtree(os.environ["AIRFLOW_HOME"], ignore_errors=True)
