"""The event trigger through trouble: of the server, of Airflow, and of its own arguments."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_gofundo.exceptions import GofundoConfigError
from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.triggers.gofundo import GofundoNewRecordsTrigger
from tests.fixtures import Connect, until, walking_threads
from tests.watching import FIRST, LIST, AssetState, ended, keys_of, looks, running, told_by, trigger


@pytest.fixture(autouse=True)
def _connected(connect: Connect, sandbox: Sandbox) -> None:
    connect(sandbox.url)


@pytest.fixture
def state() -> AssetState:
    return AssetState()


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


@pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"host": "http://127.0.0.1:9"}])
def test_a_connection_that_is_corrected_is_taken_up(
    sandbox: Sandbox, state: AssetState, connect: Connect, caplog: pytest.LogCaptureFixture, wrong: dict[str, str]
) -> None:
    connect(**{"host": sandbox.url, **wrong})

    async def run() -> list[int]:
        async with running(trigger(state, initial=FIRST)) as told:
            waiting = asyncio.ensure_future(anext(told))
            while "Looking again later." not in caplog.text:
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


def test_every_line_of_the_log_says_which_watch_it_is(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    class FailingOnce(AssetState):
        reads = 0

        def get(self, *of: Any) -> Any:
            self.reads += 1
            if self.reads == 1:
                raise OSError("the database is away")
            return super().get(*of)

    caplog.set_level("INFO")
    sandbox.faults.add("status", LIST, status=503, times=1)

    told_by(trigger(FailingOnce(), initial=FIRST), lambda events: bool(events))

    said = [line.getMessage() for line in caplog.records if line.name == "airflow_provider_gofundo.triggers.watch"]
    assert [line.partition(": ")[0] for line in said] == ["api/donations of connection 'gofundo_default'"] * 3
    assert [line.rpartition(" ")[2] for line in said] == ["later.", "later.", "new."]


def test_a_confirmation_that_could_not_be_written_is_written_with_the_next_look(sandbox: Sandbox) -> None:
    class FailingOnce(AssetState):
        writes = 0

        def set(self, key: str, value: Any) -> None:
            self.writes += 1
            if self.writes == 2:  # the first one is the look's
                raise OSError("the database is away")
            super().set(key, value)

    state = FailingOnce()

    async def run() -> None:
        async with running(trigger(state, initial=FIRST)) as told:
            await anext(told)
            waiting = asyncio.ensure_future(anext(told))
            while state.writes < 3:
                await asyncio.sleep(0.01)
            await ended(waiting)

    asyncio.run(asyncio.wait_for(run(), 30))
    assert all(json.loads(text)["untold"] == [] for text in state.values())


def confirmed(watching: GofundoNewRecordsTrigger) -> list[Any]:
    """What another triggerer tells first."""
    return told_by(watching, lambda events: bool(events))


def test_a_triggerer_that_hung_goes_on_from_what_another_has_told_meanwhile(
    sandbox: Sandbox, state: AssetState
) -> None:
    hanging, another = (trigger(state, initial=FIRST, query_params={"per_page": 100}) for _ in range(2))

    async def run() -> list[Any]:
        watch = hanging._watch()
        events = watch.events()
        first = await anext(events)
        await watch.confirm([first["id"]])
        sandbox.records_insert("donations", 2)
        (second,) = await asyncio.to_thread(confirmed, another)
        sandbox.records_insert("donations")
        third = await anext(events)
        await events.aclose()  # type: ignore[attr-defined]  # it is a generator
        return [first, second, third]

    told = asyncio.run(asyncio.wait_for(run(), 30))

    assert [event["keys"] for event in told] == [list(range(1, 41)), [41, 42], [43]]


def test_a_confirmation_that_comes_late_takes_away_nothing_that_another_triggerer_has_written(
    sandbox: Sandbox, state: AssetState
) -> None:
    hanging, another, last = (trigger(state, initial=FIRST, query_params={"per_page": 100}) for _ in range(3))

    async def run() -> None:
        watch = hanging._watch()
        events = watch.events()
        first = await anext(events)
        sandbox.records_insert("donations", 2)
        told_by_another.extend(await asyncio.to_thread(killed, another))
        await watch.confirm([first["id"]])
        await events.aclose()  # type: ignore[attr-defined]  # it is a generator

    def killed(watching: GofundoNewRecordsTrigger) -> list[Any]:
        return told_by(watching, lambda events: len(events) == 2, confirm=False)

    told_by_another: list[Any] = []
    asyncio.run(asyncio.wait_for(run(), 30))
    sandbox.records_insert("donations")

    told = told_by(last, lambda events: 43 in keys_of(events))
    assert told[:2] == told_by_another
    assert keys_of(told[2:]) == [43]


def test_a_write_that_failed_and_was_done_all_the_same_loses_nothing(sandbox: Sandbox) -> None:
    class Doubtful(AssetState):
        def set(self, key: str, value: Any) -> None:
            known = key in self
            super().set(key, value)
            if not known:
                raise OSError("no answer came")

    assert len(keys_of(told_by(trigger(Doubtful(), initial=FIRST), lambda events: bool(events)))) == 40


def test_as_many_events_arrive_as_one_look_has_found(
    sandbox: Sandbox, state: AssetState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_gofundo.triggers.feed.MOST", 1)
    monkeypatch.setattr("airflow_provider_gofundo.triggers.watch.APART", 0.001)
    sandbox.records_insert("donations", 1_260)
    watching = trigger(state, initial=FIRST, query_params={"per_page": 1_300})

    assert len(told_by(watching, lambda events: len(events) == 1_300)) == 1_300


def test_events_that_airflow_confirms_together_are_written_down_once(sandbox: Sandbox) -> None:
    class Counting(AssetState):
        writes = 0

        def set(self, key: str, value: Any) -> None:
            self.writes += 1
            super().set(key, value)

    state = Counting()
    sandbox.records_insert("donations", 2_000)
    watching = trigger(state, initial=FIRST, query_params={"per_page": 3_000})

    async def run() -> None:
        producer = watching.create_shared_stream_producer({})
        stream: Any = producer.open_stream()

        async def asked() -> AsyncIterator[Any]:
            yield (await anext(stream))[0]

        assert [event async for event in watching.filter_shared_stream(asked())] == []
        told = [(await anext(stream))[1] for _ in range(3)]
        batch: Any = [SimpleNamespace(broker_payload=one, outcome=SimpleNamespace(is_clean=True)) for one in told]
        await producer.advance(batch)
        await stream.aclose()

    asyncio.run(asyncio.wait_for(run(), 30))
    assert state.writes == 2  # what was found, and what was told
    assert all(json.loads(text)["untold"] == [] for text in state.values())


def test_one_that_belongs_to_several_assets_says_so(caplog: pytest.LogCaptureFixture) -> None:
    class OfSeveral(AssetState):
        def get(self, *_: Any) -> Any:
            raise ValueError("2 concrete inlets and outlets")

    async def run() -> None:
        async with running(trigger(OfSeveral())) as told:
            waiting = asyncio.ensure_future(anext(told))
            while "equal arguments" not in caplog.text:
                await asyncio.sleep(0.01)
            await ended(waiting)

    asyncio.run(asyncio.wait_for(run(), 30))


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


@pytest.mark.parametrize(
    "wrong",
    [
        {"poke_interval": 0},
        {"initial": "yesterday"},
        {"lookback": -5},
        {"field": 'a"b'},
        {"param": "page"},
        {"record_key": ""},
    ],
)
def test_what_can_never_work_is_refused_where_the_dag_is_read(wrong: dict[str, Any]) -> None:
    with pytest.raises(GofundoConfigError):
        GofundoNewRecordsTrigger(**{"endpoint": "api/donations", "param": "p", "field": "f", **wrong})


def test_durations_may_be_timedeltas() -> None:
    minute = timedelta(minutes=1)

    _, kept = trigger(None, poke_interval=minute, lookback=minute).serialize()

    assert (kept["poke_interval"], kept["lookback"]) == (60, 60)
