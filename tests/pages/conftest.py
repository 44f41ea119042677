"""One sandbox for all tests of walks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_gofundo.sandbox import Sandbox, Settings
from tests.fixtures import until


@pytest.fixture(scope="session")
def shared() -> Iterator[Sandbox]:
    with Sandbox(records=40) as running:
        yield running


@pytest.fixture
def sandbox(shared: Sandbox) -> Sandbox:
    """The one sandbox, as new; whoever changes its records takes one of their own."""
    until(lambda: not shared.counters.connections_open)
    shared.settings.update(Settings().as_dict())
    shared.faults.clear()
    shared.reset_throttle()
    shared.counters.clear()
    return shared
