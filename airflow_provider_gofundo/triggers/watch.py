"""Watch: looks at a list again and again, tells what is new, and remembers it over restarts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from airflow_provider_gofundo.exceptions import GofundoError
from airflow_provider_gofundo.oauth.lease import Cell
from airflow_provider_gofundo.oauth.token import now
from airflow_provider_gofundo.triggers.clients import hook_of, shared_client
from airflow_provider_gofundo.triggers.condition import is_passing
from airflow_provider_gofundo.triggers.feed import Feed, Seen
from airflow_provider_gofundo.triggers.schedule import next_look

log = logging.getLogger(__name__)


class Watch:
    """
    Yields an event for what is new, each at least once: what was not confirmed is told again, with the same id.

    It ends with its task only. An error that raised would have the triggerer start it anew within a second, for ever;
    so every trouble is logged, and the next look is an interval later.
    """

    def __init__(self, feed: Feed, cell: Cell, *, gofundo_conn_id: str, poke_interval: float) -> None:
        self._feed = feed
        self._cell = cell
        self._conn_id = gofundo_conn_id
        self._interval = poke_interval
        self._began = now().timestamp()
        self._wait = 0.0
        self._seen: Seen | None = None
        self._writing = asyncio.Lock()

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Look every interval, and yield what is new."""
        loaded = False
        while True:
            try:
                if not loaded:
                    self._seen = Seen.load(await asyncio.to_thread(self._cell.read))
                    loaded = True
                    for event in self._seen.untold if self._seen else ():
                        yield event
                # The connection may have been corrected meanwhile.
                with shared_client(await hook_of(self._conn_id)) as client:
                    while True:
                        for event in await self._look(client):
                            yield event
                        await self._pause()
            except GofundoError as error:
                log.warning("%s Looking again later.", error)
            except Exception as error:  # noqa: BLE001  # what comes from Airflow's stores depends on its version
                log.warning(
                    "The watch of %s failed (%s). Trying again later.", self._feed.endpoint, type(error).__name__
                )
            await self._pause()

    async def confirm(self, event_id: str) -> None:
        """Take note that Airflow has an event. Where that cannot be written it is written with the next look."""
        async with self._writing:
            if self._seen is None:
                return
            self._seen = self._seen.told(event_id)
            try:
                await asyncio.to_thread(self._cell.write, self._seen.dump())
            except Exception as error:  # noqa: BLE001  # as above
                log.warning("What was told cannot be written down now (%s).", type(error).__name__)

    async def _look(self, client: Any) -> tuple[dict[str, Any], ...]:
        """Look once; what is new is written down before it is returned."""
        self._wait = 0.0
        before = self._seen
        try:
            found: Seen = await client.ask(lambda asked: self._feed.look(asked, before, now()))
        except GofundoError as error:
            if not is_passing(error):
                raise
            self._wait = error.retry_in or 0.0
            log.warning("%s Looking again later.", error)
            return ()
        async with self._writing:
            # Some may have been confirmed while it looked.
            still = self._seen.untold if self._seen else ()
            after = replace(found, untold=still + found.untold)
            if after != self._seen:
                await asyncio.to_thread(self._cell.write, after.dump())
            self._seen = after
        if found.untold:
            log.info("%s: %d new.", self._feed.endpoint, sum(event["records"] for event in found.untold))
        return found.untold

    async def _pause(self) -> None:
        at = now().timestamp()
        await asyncio.sleep(next_look(now=at, began=self._began, interval=self._interval, wait=self._wait) - at)
