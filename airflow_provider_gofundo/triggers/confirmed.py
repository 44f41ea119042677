"""Confirmed: how Airflow 3.3 says that it has an event. Before, nothing does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from airflow_provider_gofundo.triggers.watch import Watch


class ConfirmedEvents(SharedStreamProducer):
    """
    The events of a watch, each confirmed once it is in Airflow's database.

    Airflow makes this from the trigger's class, but the watch belongs to the trigger itself, which knows its asset.
    So the first thing this yields is a future, which the trigger fills with its watch.
    """

    def __init__(self) -> None:
        self._watch: Watch | None = None

    async def open_stream(self) -> AsyncIterator[tuple[Any, Any]]:
        """Ask for the watch, then yield its events."""
        asked: asyncio.Future[Watch] = asyncio.get_running_loop().create_future()
        yield asked, None
        self._watch = await asked
        async for event in self._watch.events():
            yield event, event["id"]

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Confirm what Airflow has; the rest is told again by the trigger's next start."""
        told = {item.broker_payload for item in batch if item.broker_payload and item.outcome.is_clean}
        if self._watch and told:
            await self._watch.confirm(told)
