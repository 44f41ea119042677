"""The sensor's trigger: when it looks, what it makes of trouble, and what it leaves behind."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.utils.db import initdb

from airflow_provider_gofundo import adapter
from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoConnectionError
from airflow_provider_gofundo.hooks.gofundo import GofundoHook
from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.triggers.clients import THREADS, SharedClient
from airflow_provider_gofundo.triggers.condition import Condition
from airflow_provider_gofundo.triggers.gofundo import GofundoNewRecordsTrigger, GofundoTrigger
from airflow_provider_gofundo.triggers.schedule import next_look
from tests.fixtures import Connect, Waits, until, walking_threads
from tests.replay import TRICKLING, Answer, Replay

LIST = "/api/donations"


@pytest.fixture(autouse=True)
def _connected(connect: Connect, sandbox: Sandbox) -> None:
    connect(sandbox.url)


def trigger(*, poke_interval: float = 0.05, timeout: float = 60, **condition: Any) -> GofundoTrigger:
    began = datetime.now(timezone.utc)
    return GofundoTrigger(
        gofundo_conn_id="gofundo_default",
        condition={"endpoint": "api/donations", **condition},
        poke_interval=poke_interval,
        began=began.isoformat(),
        deadline=(began + timedelta(seconds=timeout)).isoformat(),
    )


async def event_of(waiting: GofundoTrigger) -> dict[str, Any]:
    (event,) = [event.payload async for event in waiting.run()]
    return dict(event)


def looks(sandbox: Sandbox) -> int:
    return sandbox.counters.requests[f"GET {LIST}"]


def after(sandbox: Sandbox, count: int, then: Callable[[], Any]) -> None:
    """Do something right before the answer of that number."""
    numbers = iter(range(1, 10_000))
    sandbox.before_each(lambda *_: then() if next(numbers) == count else None)


def test_it_looks_until_it_is_found(sandbox: Sandbox) -> None:
    after(sandbox, 3, lambda: sandbox.records_insert("donations", 2))

    assert asyncio.run(event_of(trigger(min_records=42))) == {"status": "found", "records": 42}
    assert looks(sandbox) == 3


def test_another_process_goes_on_with_what_airflow_kept_of_it(sandbox: Sandbox) -> None:
    _, kept = trigger(min_records=40).serialize()

    again = GofundoTrigger(**json.loads(json.dumps(kept)))

    assert asyncio.run(event_of(again)) == {"status": "found", "records": 40}


def test_it_times_out_where_nobody_has_looked_since_a_restart_too(sandbox: Sandbox) -> None:
    assert asyncio.run(event_of(trigger(min_records=41, timeout=0.2))) == {"status": "timeout"}
    assert asyncio.run(event_of(trigger(min_records=41, timeout=-60))) == {"status": "timeout"}


def test_it_looks_at_whole_intervals_after_it_began_whatever_happens() -> None:
    assert next_look(now=1000.0, began=1000.0, interval=60) == 1060
    assert next_look(now=1001.0, began=1000.0, interval=60) == 1060  # a new triggerer
    assert next_look(now=1060.0, began=1000.0, interval=60) == 1120
    assert next_look(now=1185.0, began=1000.0, interval=60) == 1240  # a look took longer than the interval
    assert next_look(now=990.0, began=1000.0, interval=60) == 1000  # the clocks differ


def test_it_waits_as_long_as_the_server_asks_to() -> None:
    assert next_look(now=1000.0, began=1000.0, interval=60, wait=90) == 1120


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 503}, {"kind": "status", "status": 429}, {"kind": "drop"}, {"kind": "broken_json"}],
)
def test_trouble_that_may_pass_costs_one_request_for_each_look(
    sandbox: Sandbox, waits: Waits, fault: dict[str, Any]
) -> None:
    sandbox.faults.add(fault.pop("kind"), LIST, times=3, **fault)

    found = asyncio.run(event_of(trigger(min_records=40)))

    assert found["status"] == "found"
    assert looks(sandbox) == 4
    assert waits == []  # none was sent again within a look


def test_a_token_that_was_revoked_is_renewed_within_one_look(sandbox: Sandbox) -> None:
    first = True

    def revoke_then_insert(*_: Any) -> None:
        nonlocal first
        if first:
            sandbox.revoke_all()
        else:
            sandbox.records_insert("donations")
        first = False

    sandbox.before_each(revoke_then_insert)

    assert asyncio.run(event_of(trigger(min_records=41)))["status"] == "found"
    assert (looks(sandbox), sandbox.counters.grants["client_credentials"]) == (3, 2)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"password": "wrong"}, "GofundoAuthError"),
        ({"extra": {"timeout": "soon"}}, "GofundoConfigError"),
        ({"extra": {"grant_type": "refresh_token"}}, "GofundoConfigError"),
    ],
)
def test_what_cannot_heal_ends_it_at_once_with_its_sentence(
    sandbox: Sandbox, connect: Connect, fields: dict[str, Any], error: str
) -> None:
    connect(sandbox.url, **fields)

    failed = asyncio.run(event_of(trigger(min_records=1)))

    assert (failed["status"], failed["error"]) == ("failed", error)
    assert failed["text"].endswith(".")
    assert "wrong" not in json.dumps(failed)
    assert looks(sandbox) == 0


@pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"host": "http://127.0.0.1:9"}])
def test_a_connection_that_is_corrected_meanwhile_is_taken_up(
    sandbox: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str]
) -> None:
    connect(**{"host": sandbox.url, **wrong})
    lookups = 0
    found = GofundoHook.get_connection

    def second(conn_id: str) -> Any:
        nonlocal lookups
        lookups += 1
        if lookups == 2:  # after the first look
            connect(sandbox.url)
        return found(conn_id)

    monkeypatch.setattr(GofundoHook, "get_connection", staticmethod(second))

    assert asyncio.run(event_of(trigger(min_records=40)))["status"] == "found"
    assert lookups == 2


def test_trouble_of_airflow_itself_is_waited_out(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    found = GofundoHook.get_connection
    troubles = [OSError("the API server is away"), RuntimeError("the database is locked")]

    def sometimes(conn_id: str) -> Any:
        if troubles:
            raise troubles.pop()
        return found(conn_id)

    monkeypatch.setattr(GofundoHook, "get_connection", staticmethod(sometimes))

    assert asyncio.run(event_of(trigger(min_records=40)))["status"] == "found"
    assert not troubles


def test_a_connection_that_is_gone_ends_it_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_GOFUNDO_DEFAULT")
    initdb()

    failed = asyncio.run(event_of(trigger(min_records=1)))

    assert failed["error"] == "GofundoConfigError"
    assert "gofundo_default" in failed["text"]


def personal(_response: Any) -> bool:
    raise ValueError("Jan Jansen")


def test_a_function_that_crashes_ends_it_without_what_it_said() -> None:
    failed = asyncio.run(event_of(trigger(response_check=f"{__name__}.personal")))

    assert failed["error"] == "GofundoConfigError"
    assert "ValueError" in failed["text"]
    assert "Jansen" not in json.dumps(failed)


def test_a_path_that_does_not_exist_ends_it_at_once(sandbox: Sandbox) -> None:
    failed = asyncio.run(event_of(trigger(min_records=1, endpoint="api/no-such-list")))

    assert failed["error"] == "GofundoApiError"


def test_many_of_one_connection_log_in_once_and_take_few_threads(sandbox: Sandbox) -> None:
    most = 0

    def count(*_: Any) -> None:
        nonlocal most
        most = max(most, len(walking_threads()))

    sandbox.before_each(count)

    async def all_of_them() -> list[dict[str, Any]]:
        return await asyncio.gather(*(event_of(trigger(min_records=40)) for _ in range(100)))

    assert {event["status"] for event in asyncio.run(all_of_them())} == {"found"}
    assert sandbox.counters.grants["client_credentials"] == 1
    assert looks(sandbox) == 100
    assert most <= 8


def test_no_thread_survives_one_that_is_cancelled_in_the_middle_of_a_request(sandbox: Sandbox) -> None:
    slow = sandbox.faults.add("slow", LIST, seconds=60)

    async def cancelled() -> None:
        waiting = asyncio.ensure_future(event_of(trigger(min_records=1)))
        while not slow.consumed:
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(cancelled())

    until(lambda: not walking_threads())


def test_the_end_of_one_is_not_the_end_of_another(sandbox: Sandbox) -> None:
    async def both() -> dict[str, Any]:
        other = asyncio.ensure_future(event_of(trigger(min_records=41)))
        await event_of(trigger(min_records=40))
        sandbox.records_insert("donations")
        return await other

    assert asyncio.run(both()) == {"status": "found", "records": 41}
    assert sandbox.counters.grants["client_credentials"] == 1


def test_the_deadline_ends_a_look_that_takes_longer(sandbox: Sandbox) -> None:
    sandbox.faults.add("slow", path=LIST, seconds=30, times=None)
    began = time.monotonic()

    event = asyncio.run(event_of(trigger(min_records=1, timeout=0.2)))

    assert event == {"status": "timeout"}
    assert time.monotonic() - began < 20, "it did not wait for the answer"


def test_a_look_that_nobody_waits_for_any_more_asks_for_no_more_pages(sandbox: Sandbox) -> None:
    sandbox.settings.latency_ms = 20
    asked: list[int] = []

    async def run() -> None:
        with SharedClient("gofundo_default") as stays:  # so that the client is not ended as well
            assert (await stays.ask(lambda client: client.request("GET", "api/donors"))).ok
            looking = asyncio.ensure_future(
                event_of(trigger(field="status", equals="no such", query_params={"per_page": 1}))
            )
            while looks(sandbox) < 3:
                await asyncio.sleep(0.01)
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
            asked.append(looks(sandbox))
            await asyncio.sleep(0.5)  # for some 20 pages more
            await stays.ask(lambda client: client.request("GET", "api/donors"))
            asked.append(looks(sandbox))

    asyncio.run(asyncio.wait_for(run(), 30))
    assert asked[1] - asked[0] <= 1  # the one that was being sent


@pytest.mark.timeout(60)
def test_answers_that_trickle_hold_the_threads_for_a_while_only(
    connect: Connect, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "PATIENCE", 1)
    connect(replay.url, extra={"timeout": 1})
    replay.answer(*[TRICKLING["headers"]] * THREADS, Answer())

    def ask(client: GofundoClient) -> bool:
        return client.request("GET", "api/donations").ok

    async def run() -> bool:
        with SharedClient("gofundo_default") as shared:
            left = [asyncio.ensure_future(shared.ask(ask)) for _ in range(THREADS)]
            while len(replay.resource_requests) < THREADS and not all(asking.done() for asking in left):
                await asyncio.sleep(0.01)
            for asking in left:
                asking.cancel()
            for _ in range(THREADS + 1):  # on a busy machine some have ended before they were asked
                with suppress(GofundoConnectionError):
                    return await shared.ask(ask)
        return False

    assert asyncio.run(run())


def test_a_field_that_no_record_has_is_told_in_the_log(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    asyncio.run(event_of(trigger(field="statis", equals="paid", timeout=0.2)))

    assert "none of 40 records has a value in statis" in caplog.text


@pytest.mark.parametrize("equals", [date(2026, 1, 1), (1, 2), {1}, b"paid"], ids=repr)
def test_what_json_has_not_cannot_be_waited_for(equals: Any) -> None:
    with pytest.raises(GofundoConfigError, match="equals must be what JSON has"):
        Condition(endpoint="api/donations", field="status", equals=equals)


@pytest.mark.parametrize(
    "wrong", [{"poke_interval": float("nan")}, {"lookback": float("inf")}, {"lookback": -1}], ids=str
)
def test_a_watch_that_could_never_work_is_refused_where_it_is_made(wrong: dict[str, float]) -> None:
    with pytest.raises(GofundoConfigError, match=f"{next(iter(wrong))} must be"):
        GofundoNewRecordsTrigger(endpoint="api/donations", param="since", field="updated_at", **wrong)  # type: ignore[arg-type]  # by lot
