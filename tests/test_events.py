"""The task that runs because of the trigger's events: each is one run's, and that run has it as often as it asks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_gofundo.exceptions import GofundoConfigError
from airflow_provider_gofundo.triggers.events import REMEMBERED, new_events
from tests.watching import AssetState

sdk = pytest.importorskip("airflow.sdk")

DONATIONS = sdk.Asset("new_donations")


def told(*numbers: int) -> list[Any]:
    """Events, each of one record."""
    return [SimpleNamespace(extra={"payload": {"id": f"event {n}", "keys": [n]}}) for n in numbers]


@pytest.fixture
def state() -> AssetState:
    return AssetState()


def keys(state: AssetState, run: str, events: list[Any], *, task: str = "handle") -> list[int]:
    """What a task of that run returns for these events."""
    context = {
        "run_id": run,
        "ti": SimpleNamespace(dag_id="react", task_id=task),
        "asset_state_store": {DONATIONS: state},
        "triggering_asset_events": {DONATIONS: events},
    }
    return [key for event in new_events(DONATIONS, context) for key in event["keys"]]


def test_an_event_that_is_told_again_is_not_handled_by_another_run(state: AssetState) -> None:
    assert keys(state, "one", told(1, 2)) == [1, 2]
    assert keys(state, "two", told(2, 3, 3)) == [3]


@pytest.mark.parametrize("number", [3, REMEMBERED + 50])
def test_a_retry_or_a_clear_gets_what_its_run_got(state: AssetState, number: int) -> None:
    events = told(*range(number))

    first = keys(state, "one", events)
    keys(state, "two", told(-1))
    again = keys(state, "one", events)

    assert first == again == list(range(number))
    assert keys(state, "two", told(-1)) == [-1]


def test_many_events_of_one_run_push_none_of_them_out(state: AssetState) -> None:
    keys(state, "one", told(*range(REMEMBERED + 50)))

    assert keys(state, "two", told(*range(REMEMBERED + 50))) == []


def test_no_more_is_kept_than_the_last_events_of_others_and_the_runs_own(state: AssetState) -> None:
    keys(state, "one", told(*range(REMEMBERED + 50)))
    keys(state, "two", told(-1))

    ((_, kept),) = state.items()
    assert list(kept) == [*(f"event {n}" for n in range(50, REMEMBERED + 50)), "event -1"]


def test_each_task_has_every_event(state: AssetState) -> None:
    assert keys(state, "one", told(1)) == keys(state, "one", told(1), task="another") == [1]


@pytest.mark.parametrize(
    "extra", [None, {}, {"from_rest_api": True}, {"payload": None}, {"payload": "text"}, {"payload": {"id": 1}}]
)
def test_what_another_has_told_is_left_out(state: AssetState, extra: dict[str, Any] | None) -> None:
    assert keys(state, "one", [SimpleNamespace(extra=extra), *told(1)]) == [1]


def test_a_run_that_a_person_started_has_none(state: AssetState) -> None:
    context = {
        "run_id": "manual", "ti": SimpleNamespace(dag_id="react", task_id="handle"),
        "asset_state_store": {DONATIONS: state}, "triggering_asset_events": {},
    }  # fmt: skip

    assert new_events(DONATIONS, context) == []
    assert state == {}


@pytest.mark.parametrize("stores", [{}, {"asset_state_store": {}}])
def test_a_task_without_the_assets_state_is_told_what_to_change(stores: dict[str, Any]) -> None:
    with pytest.raises(GofundoConfigError, match="asset new_donations among the inlets of the task"):
        new_events(DONATIONS, stores)
