"""The event trigger: what it tells of a list, once each, over restarts."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.triggers.gofundo import PREFIX, GofundoNewRecordsTrigger
from airflow_provider_gofundo.triggers.watch import APART, Watch
from tests.fixtures import MACHINE, Connect
from tests.watching import FIRST, AssetState, before_look, keys_of, told_by, trigger


@pytest.fixture(autouse=True)
def _connected(connect: Connect, sandbox: Sandbox) -> None:
    connect(sandbox.url)


@pytest.fixture
def state() -> AssetState:
    return AssetState()


def test_it_tells_what_comes_after_its_first_look_and_no_record(sandbox: Sandbox, state: AssetState) -> None:
    before_look(sandbox, 3, lambda: sandbox.records_insert("donations", 2))

    (event,) = told_by(trigger(state), lambda events: bool(events))

    assert (event["records"], event["keys"], event["endpoint"]) == (2, [41, 42], "api/donations")
    assert set(event) == {"id", "endpoint", "records", "keys", "watermark"}


def test_with_a_beginning_it_tells_all_since_then_on_however_many_pages(sandbox: Sandbox, state: AssetState) -> None:
    watching = trigger(state, initial=FIRST, query_params={"per_page": 15})

    (event,) = told_by(watching, lambda events: bool(events))

    assert event["keys"] == list(range(1, 41))
    assert event["watermark"] == sandbox.records["donations"].value(40)["updated_at"]


def test_more_than_an_event_holds_come_in_several(sandbox: Sandbox, state: AssetState) -> None:
    sandbox.records_insert("donations", 2_000)
    watching = trigger(state, initial=FIRST, query_params={"per_page": 1_000})

    events = told_by(watching, lambda events: len(keys_of(events)) == 2_040)

    assert [event["records"] for event in events] == [1_000, 1_000, 40]
    assert len({event["id"] for event in events}) == 3


def test_events_are_told_apart_so_that_airflow_makes_a_run_of_each(
    sandbox: Sandbox, state: AssetState, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.records_insert("donations", 2_000)
    sleep, slept = asyncio.sleep, list[float]()

    async def instead(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    async def first(watch: Watch, number: int) -> list[Any]:
        monkeypatch.setattr(asyncio, "sleep", instead)
        events = watch.events()
        told = [await anext(events) for _ in range(number)]
        await events.aclose()  # type: ignore[attr-defined]  # it is a generator
        return told

    watching = trigger(state, initial=FIRST, query_params={"per_page": 1_000}, poke_interval=60)
    told = asyncio.run(first(watching._watch(), 3))
    monkeypatch.undo()
    assert slept == [APART, APART]

    slept.clear()
    again = trigger(state, initial=FIRST, query_params={"per_page": 1_000}, poke_interval=60)
    assert asyncio.run(first(again._watch(), 3)) == told
    assert slept == [APART, APART]


def test_what_was_confirmed_is_not_told_by_the_next_triggerer(sandbox: Sandbox, state: AssetState) -> None:
    told_by(trigger(state, initial=FIRST), lambda events: bool(events))
    before_look(sandbox, 2, lambda: sandbox.records_insert("donations"))

    assert keys_of(told_by(trigger(state, initial=FIRST), lambda events: bool(events))) == [41]


def test_what_airflow_never_confirmed_is_told_again_as_the_same_event(sandbox: Sandbox, state: AssetState) -> None:
    lost = told_by(trigger(state, initial=FIRST), lambda events: bool(events), confirm=False)
    sandbox.records_insert("donations")

    again = told_by(trigger(state, initial=FIRST), lambda events: 41 in keys_of(events))

    assert again[0] == lost[0]
    assert keys_of(again[1:]) == [41]


def test_a_changed_record_is_told_again_and_one_that_shares_its_second_is_not_lost(
    sandbox: Sandbox, state: AssetState
) -> None:
    told_by(trigger(state, initial=FIRST), lambda events: bool(events))
    same_second = sandbox.records["donations"].updated(40)
    sandbox.records_insert("donations", at=same_second)
    sandbox.records_touch("donations", [7], at=same_second)

    assert keys_of(told_by(trigger(state, initial=FIRST), lambda events: bool(events))) == [7, 41]


def test_of_a_thousand_records_over_many_restarts_each_is_told_once(sandbox: Sandbox, state: AssetState) -> None:
    chance = random.Random(5)
    inserted: list[int] = []

    def insert(*_: Any) -> None:
        if len(inserted) < 1_000:
            inserted.extend(sandbox.records_insert("donations", min(chance.randint(0, 60), 1_000 - len(inserted))))

    told_by(trigger(state, initial=FIRST), lambda events: bool(events))
    sandbox.before_each(insert)
    events: dict[str, Any] = {}
    while len(keys_of(events.values())) < 1_000:
        confirm = chance.random() < 0.5
        for event in told_by(trigger(state, initial=FIRST), lambda some: chance.random() < 0.4, confirm=confirm):
            assert events.setdefault(event["id"], event) == event

    assert sorted(keys_of(events.values())) == inserted


def test_what_is_kept_holds_no_secret_and_nothing_of_a_record_but_told_keys(
    sandbox: Sandbox, state: AssetState
) -> None:
    told_by(trigger(state, initial=FIRST), lambda events: bool(events), confirm=False)

    ((key, text),) = state.items()
    kept = json.loads(text)
    assert key.startswith(PREFIX)
    assert set(kept) == {"since", "watermark", "records", "untold"}
    assert all(len(digest) == 16 and type(about) is int for digest, about in kept["records"].items())
    assert set(kept["untold"][0]) == {"id", "endpoint", "records", "keys", "watermark"}
    assert MACHINE["password"] not in text


def test_without_an_asset_it_remembers_in_a_variable_of_its_own(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.utils.db import initdb

    initdb()
    monkeypatch.setattr("airflow_provider_gofundo.triggers.gofundo.SETTLED", 0.0)

    async def first_of(watching: GofundoNewRecordsTrigger, more: int) -> list[list[int]]:
        events = watching.run()
        return [(await anext(events)).payload["keys"] for _ in range(more)]

    before = asyncio.run(first_of(trigger(None, initial=FIRST), 1))
    sandbox.records_insert("donations")
    # The first one was never confirmed, and so comes again.
    again = asyncio.run(first_of(trigger(None, initial=FIRST), 2))

    assert again == [*before, [41]]
