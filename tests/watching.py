"""Watching: the event trigger as a triggerer runs it, and what it tells."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.triggers.gofundo import GofundoNewRecordsTrigger

streams = pytest.importorskip("airflow.triggers.shared_stream")

LIST = "/api/donations"
FIRST = "2020-01-01T00:00:00Z"


class AssetState(dict[str, Any]):
    """Stands in for the state of the trigger's asset; it takes what Airflow's takes."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))


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


async def ended(waiting: asyncio.Future[Any]) -> None:
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


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
