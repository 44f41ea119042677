"""Progress: how far a pull is, for the log, and for whoever counts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.pages.shapes import Page

log = logging.getLogger(__name__)

# Seconds between two lines of progress in the log.
EVERY = 5.0

# Takes how much was added since the last time: records, requests, retries, and seconds waited.
Count = Callable[[Mapping[str, float]], None]


class Progress:
    """Tells the log every few seconds how far a pull is, and `count` what was added."""

    def __init__(
        self,
        endpoint: str,
        client: GofundoClient,
        *,
        count: Count | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.requests = self.retries = 0
        self._endpoint = endpoint
        self._client = client
        self._count = count
        self._clock = clock
        self._began = self._due = clock()
        self._before = client.traffic
        self._told = self._counters(0)
        self._written = 0
        self._first: tuple[float, int] | None = None

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return self._clock() - self._began

    def resume(self, records: int) -> None:
        """Leave out records that an earlier try has written."""
        self._written = records
        self._told = self._counters(records)

    def add(self, page: Page, pages: int, records: int) -> None:
        """Take note of a page; `pages` and `records` are those of the whole pull so far."""
        self._written = records
        now = self._clock()
        self._first = self._first or (now, records)  # the login before it tells nothing of the list
        if now >= self._due:
            self._due = now + EVERY
            log.info("%s: %s", self._endpoint, self._so_far(page, pages, records))
            self.tell()

    def tell(self) -> None:
        """Tell `count` what was added since the last time."""
        told = self._counters(self._written)
        self.requests, self.retries = int(told["requests"]), int(told["retries"])
        if self._count:
            self._count({name: value - self._told[name] for name, value in told.items()})
        self._told = told

    def _counters(self, records: int) -> dict[str, float]:
        traffic, before = self._client.traffic, self._before
        return {
            "records": records,
            "requests": traffic.requests - before.requests,
            "retries": traffic.retries - before.retries,
            "waited": traffic.waited - before.waited,
        }

    def _so_far(self, page: Page, pages: int, records: int) -> str:
        of_pages = f" of {page.last_page:,}" if page.last_page else ""
        of_records = f" of {page.total:,}" if page.total is not None else ""
        text = f"page {page.number or pages:,}{of_pages}, {records:,}{of_records} records"
        since, start = self._first or (self._began, 0)
        rate = (records - start) / max(self._clock() - since, 0.001)
        if records > start:
            text += f", {rate:,.0f} a second"
            if page.total is not None and page.total > records:
                text += f", about {_duration((page.total - records) / rate)} to go"
        return text


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
