"""Watch: looks at a list again and again, tells what is new, and remembers it over restarts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import replace
from typing import TypeVar

from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoError
from airflow_provider_gofundo.oauth.lease import Cell
from airflow_provider_gofundo.oauth.token import now
from airflow_provider_gofundo.triggers.clients import SharedClient
from airflow_provider_gofundo.triggers.feed import Event, Feed, Seen
from airflow_provider_gofundo.triggers.schedule import next_look

T = TypeVar("T")

log = logging.getLogger(__name__)

# Seconds between two events, unless looks are closer. Airflow makes a run of the first; what comes before it has done
# so waits for the event after, however long that takes.
APART = 5.0


class Watch:
    """
    Yields an event for what is new, each at least once: what was not confirmed is told again, with the same id.

    While a triggerer hangs, Airflow has another one watch. What that one has written is never written over: the one
    that wakes drops what it has found, and goes on from there.

    It ends with its task only. An error that raised would have the triggerer start it anew within a second, for ever;
    so every trouble is logged, and the next look is an interval later.
    """

    def __init__(self, feed: Feed, cell: Cell, *, gofundo_conn_id: str, poke_interval: float) -> None:
        self._feed = feed
        self._cell = cell
        self._conn_id = gofundo_conn_id
        self._name = f"{feed.endpoint} of connection '{gofundo_conn_id}'"  # the log has nothing else to go by
        self._interval = poke_interval
        self._apart = min(APART, poke_interval)
        self._began = now().timestamp()
        self._seen: Seen | None = None
        self._kept: Seen | None = None  # what surely stands in the cell
        self._writing = asyncio.Lock()

    async def events(self) -> AsyncIterator[Event]:
        """Look every interval, and yield what is new."""
        loaded = False
        with SharedClient(self._conn_id) as client:
            while True:
                wait = 0.0
                try:
                    if not loaded:
                        untold, loaded = await self._load(), True
                        for event in untold:
                            yield event
                            await asyncio.sleep(self._apart)
                    for event in await self._look(client):
                        yield event
                        await asyncio.sleep(self._apart)
                except GofundoError as error:
                    wait = error.retry_in or 0.0
                    log.warning("%s: %s Looking again later.", self._name, error)
                except Exception as error:  # noqa: BLE001  # what comes from Airflow's stores depends on its version
                    log.warning("%s: the watch failed (%s). Trying again later.", self._name, type(error).__name__)
                at = now().timestamp()
                await asyncio.sleep(next_look(now=at, began=self._began, interval=self._interval, wait=wait) - at)

    async def confirm(self, told: Collection[str]) -> None:
        """Take note that Airflow has these events. Where that cannot be written now, the next look sees to it."""
        async with self._writing:
            if self._seen is None:
                return
            self._seen = self._seen.told(told)
            try:
                await self._keep(self._seen)
            except Exception as error:  # noqa: BLE001  # as above
                log.warning("%s: what was told cannot be written down now (%s).", self._name, type(error).__name__)

    async def _look(self, client: SharedClient) -> tuple[Event, ...]:
        """Look once; what is new is written down before it is returned."""
        before = self._seen
        found = await client.ask(lambda asked: self._feed.look(asked, before, now()))
        async with self._writing:
            # Some may have been confirmed while it looked.
            still = self._seen.untold if self._seen else ()
            after = replace(found, untold=still + found.untold)
            if after != self._kept and not await self._keep(after):
                log.warning(
                    "%s: another triggerer, or a person, has written down what was seen. Going on from there.",
                    self._feed.endpoint,
                )
                return await self._load()
            self._seen = after
        if found.untold:
            log.info("%s: %d new.", self._name, sum(event["records"] for event in found.untold))
        return found.untold

    async def _load(self) -> tuple[Event, ...]:
        """Begin with what stands in the cell; return the events there that Airflow may not have."""
        self._seen = self._kept = await self._read()
        return self._seen.untold if self._seen else ()

    async def _keep(self, seen: Seen) -> bool:
        """Write it down, unless somebody else has written meanwhile; says whether."""
        if await self._read() != self._kept:
            return False
        await self._at_its_place(lambda: self._cell.write(seen.dump()))
        self._kept = seen
        return True

    async def _read(self) -> Seen | None:
        return Seen.load(await self._at_its_place(self._cell.read))

    async def _at_its_place(self, do: Callable[[], T]) -> T:
        """Read or write there, in a thread."""
        try:
            return await asyncio.to_thread(do)
        except GofundoError:
            raise
        except ValueError:  # Airflow's
            text = (
                f"The watch of {self._feed.endpoint} has no place to remember: Airflow takes triggers with equal "
                "arguments for one, which then has several assets. Give each another poke_interval, or all one asset."
            )
        raise GofundoConfigError(text)
