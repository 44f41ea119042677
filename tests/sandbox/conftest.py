"""Sandboxes for the tests: one of each size and league for the whole run, put back in order before each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import requests

from airflow_provider_gofundo.sandbox import Sandbox, Settings
from tests.fixtures import until

JSON = {"Accept": "application/json"}
Pool = Callable[..., Sandbox]


@pytest.fixture(scope="session")
def _sandboxes() -> Iterator[dict[tuple[int, int], Sandbox]]:
    sandboxes: dict[tuple[int, int], Sandbox] = {}
    yield sandboxes
    for sandbox in sandboxes.values():
        sandbox.stop()


@pytest.fixture
def pool(_sandboxes: dict[tuple[int, int], Sandbox]) -> Pool:
    """A running sandbox with so many donations, as if it had just started. Do not change its records."""

    def take(records: int = 1005, league: int = 8) -> Sandbox:
        key = (records, league)
        if key not in _sandboxes:
            _sandboxes[key] = Sandbox(records=records, league=league).start()
        sandbox = _sandboxes[key]
        # An answer that a test before did not wait for would be counted in this one.
        until(lambda: not sandbox.counters.in_flight)
        sandbox.settings.update({**Settings().as_dict(), "league": league})
        sandbox.faults.clear()
        sandbox.before_each(None)
        sandbox.counters.clear()
        sandbox.reset_throttle()
        return sandbox

    return take


@pytest.fixture
def sandbox(pool: Pool) -> Sandbox:
    return pool()


@pytest.fixture
def fresh() -> Iterator[Sandbox]:
    """A sandbox of its own, whose records may change."""
    with Sandbox(records=20, donors=5, actions=3) as sandbox:
        yield sandbox


Get = Callable[..., requests.Response]


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers.update(JSON)
        session.trust_env = False
        yield session


@pytest.fixture
def get(session: requests.Session) -> Get:
    """GET a path of a sandbox with a fresh machine token."""

    def fetch(sandbox: Sandbox, path: str, **query: object) -> requests.Response:
        headers = {"Authorization": f"Bearer {sandbox.token()}"}
        return session.get(
            sandbox.url + path, params={k: str(v) for k, v in query.items()}, headers=headers, timeout=10
        )

    return fetch
