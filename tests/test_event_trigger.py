"""The event trigger: what it tells of a list, once each, over restarts and through trouble."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from airflow_provider_gofundo.exceptions import GofundoConfigError
from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.triggers.gofundo import PREFIX, GofundoNewRecordsTrigger
from tests.fixtures import Connect, until, walking_threads

streams = pytest.importorskip("airflow.triggers.shared_stream")

LIST = "/api/donations"
FIRST = "2020-01-01T00:00:00Z"


class AssetState(dict[str, Any]):
    """Stands in for the state of the trigger's asset; it takes what Airflow's takes."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))


@pytest.fixture(autouse=True)
def _connected(connect: Connect, sandbox: Sandbox) -> None:
    connect(sandbox.url)


@pytest.fixture
def state() -> AssetState:
    return AssetState()


def trigger(state: AssetState | None, **arguments: Any) -> GofundoNewRecordsTrigger:
    """The trigger as a triggerer makes it, from what Airflow keeps of it."""
    watched = {
        "endpoint": "api/donations", "param": "updated_since", "field": "updated_at", "poke_interval": 0.05,
        **arguments,
    }  # fmt: skip
    _, kept = GofundoNewRecordsTrigger(**watched).serialize()
    made = GofundoNewRecordsTrigger(**json.loads(json.dumps(kept)))
    made.asset_state_store = state  # type: ignore[assignment]  # what is used of it is there
    return made


@asynccontextmanager
async def running(watching: GofundoNewRecordsTrigger, *, confirm: bool = True) -> AsyncIterator[AsyncIterator[Any]]:
    """Run it as a triggerer does, which says of each event that it is in the database, or never comes so far."""
    manager = streams.SharedStreamManager(log=structlog.get_logger())
    key = watching.shared_stream_key()

    async def events() -> AsyncIterator[Any]:
        async for event in watching.filter_shared_stream(manager.subscribe(trigger_id=1, trigger=watching, key=key)):
            seq = manager.bind_pending_event(trigger_id=1, key=key)
            if confirm:
                manager.confirm_persisted([seq])
            yield event.payload

    told = events()
    try:
        yield told
    finally:
        await told.aclose()  # type: ignore[attr-defined]  # it is a generator
        await manager.unsubscribe(1, key)
        await manager.stop_all()


def told_by(
    watching: GofundoNewRecordsTrigger, enough: Callable[[list[Any]], bool], *, confirm: bool = True
) -> list[Any]:
    """Run it until it has told enough."""

    async def run() -> list[Any]:
        events: list[Any] = []
        async with running(watching, confirm=confirm) as told:
            async for event in told:
                events.append(event)
                if enough(events):
                    return events
        return events

    return asyncio.run(asyncio.wait_for(run(), 30))


def keys_of(events: Iterable[Any]) -> list[int]:
    return [key for event in events for key in event["keys"]]


def before_look(sandbox: Sandbox, number: int, then: Callable[[], Any]) -> None:
    numbers = iter(range(1, 100_000))

    def hook(*_: Any) -> None:
        if next(numbers) == number:
            then()

    sandbox.before_each(hook)


def looks(sandbox: Sandbox) -> int:
    return sandbox.counters.requests[f"GET {LIST}"]


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


def test_trouble_costs_one_request_an_interval_and_ends_nothing(sandbox: Sandbox, state: AssetState) -> None:
    sandbox.faults.add("status", LIST, status=503, times=2)
    sandbox.faults.add("status", LIST, status=404, times=1)
    sandbox.faults.add("drop", LIST, times=1)

    asked: list[int] = []

    def first(_events: list[Any]) -> bool:
        asked.append(looks(sandbox))
        return True

    assert len(keys_of(told_by(trigger(state, initial=FIRST, query_params={"per_page": 100}), first))) == 40
    assert asked == [5]


def test_a_connection_that_is_corrected_is_taken_up(sandbox: Sandbox, state: AssetState, connect: Connect) -> None:
    connect(sandbox.url, password="wrong")

    async def run() -> list[int]:
        async with running(trigger(state, initial=FIRST)) as told:
            waiting = asyncio.ensure_future(anext(told))
            while not sandbox.counters.requests["POST /oauth/token"]:
                await asyncio.sleep(0.01)
            connect(sandbox.url)
            return keys_of([await waiting])

    assert len(asyncio.run(asyncio.wait_for(run(), 30))) == 40


def test_a_store_that_fails_loses_nothing(sandbox: Sandbox) -> None:
    class Failing(AssetState):
        failures = 3

        def set(self, key: str, value: Any) -> None:
            self.failures -= 1
            if self.failures >= 0:
                raise OSError("the database is away")
            super().set(key, value)

    assert len(keys_of(told_by(trigger(Failing(), initial=FIRST), lambda events: bool(events)))) == 40


def test_many_watchers_of_a_connection_log_in_once_and_leave_no_thread(sandbox: Sandbox) -> None:
    async def one(number: int) -> int:
        watching = trigger(AssetState(), initial=FIRST, query_params={"per_page": number})
        async with running(watching) as told:
            return len((await anext(told))["keys"])

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*(one(number) for number in range(20, 40)))

    assert asyncio.run(all_of_them()) == [40] * 20
    assert sandbox.counters.grants["client_credentials"] == 1
    until(lambda: not walking_threads())


def test_what_is_kept_holds_no_secret_and_nothing_of_a_record_but_told_keys(
    sandbox: Sandbox, state: AssetState
) -> None:
    told_by(trigger(state, initial=FIRST), lambda events: bool(events), confirm=False)

    ((key, text),) = state.items()
    kept = json.loads(text)
    assert key.startswith(PREFIX)
    assert set(kept) == {"watermark", "records", "untold"}
    assert all(len(digest) == 16 and type(about) is int for digest, about in kept["records"].items())
    assert set(kept["untold"][0]) == {"id", "endpoint", "records", "keys", "watermark"}
    assert "secret" not in json.dumps(trigger(state).serialize())


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


def test_what_is_not_its_own_is_not_taken_for_a_beginning(sandbox: Sandbox, state: AssetState) -> None:
    told_by(trigger(state, initial=FIRST), lambda events: bool(events))
    (key,) = state
    state[key] = "something else"

    async def run() -> None:
        async with running(trigger(state, initial=FIRST)) as told:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(told), 0.5)

    asyncio.run(run())
    assert state[key] == "something else"


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(GofundoConfigError):
        GofundoNewRecordsTrigger(endpoint="api/donations", param="p", field="f", poke_interval=0)
