"""One sandbox for all tests of this folder, as new for each; whoever changes its records takes one of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_gofundo.sandbox import Sandbox, Settings


@pytest.fixture(scope="session")
def shared() -> Iterator[Sandbox]:
    with Sandbox(records=40) as running:
        yield running


@pytest.fixture
def sandbox(shared: Sandbox) -> Sandbox:
    shared.settings.update(Settings().as_dict())
    shared.faults.clear()
    shared.counters.clear()
    return shared
