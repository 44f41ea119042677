"""The pull: a list of the server becomes a dataset."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.client.query import encode
from airflow_provider_gofundo.dataset.manifest import MANIFEST_NAME, Directory, Manifest
from airflow_provider_gofundo.dataset.part import Compression
from airflow_provider_gofundo.dataset.writer import DatasetWriter
from airflow_provider_gofundo.pages.shapes import Page
from airflow_provider_gofundo.pages.walk import walk

log = logging.getLogger(__name__)

# Seconds between two lines of progress in the log.
PROGRESS_EVERY = 5.0


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a pull did; counts, and times in seconds. `total` is what the server said last, None if it did not."""

    path: str
    manifest: str
    run: str
    endpoint: str
    records: int
    total: int | None
    pages: int
    parts: int
    bytes: int
    requests: int
    retries: int
    seconds: float


def pull(
    client: GofundoClient,
    endpoint: str,
    path: Directory,
    *,
    query_params: Mapping[str, Any] | None = None,
    records_per_part: int = 100_000,
    compression: Compression = "gzip",
    clock: Callable[[], float] = time.monotonic,
) -> Summary:
    """
    Pull a list into a directory as a dataset, and return what was done.

    The directory holds the new dataset when this returns, and what it held before when this raises.
    """
    started, began = datetime.now(timezone.utc), clock()
    sent = encode(query_params)
    before = client.traffic
    writer = DatasetWriter(path, records_per_part=records_per_part, compression=compression, started=started)
    progress = _Progress(endpoint, clock)
    writer.open()
    try:
        for page in walk(client, endpoint, query_params=query_params):
            if not progress.pages:
                writer.claim(endpoint)
            writer.write(page.records)
            progress.add(page)
        parts = writer.finish()
        writer.publish(
            Manifest(
                run=writer.run,
                source=client.settings.base_url,
                endpoint=endpoint,
                query_params=sent,
                started=started.isoformat(),
                finished=datetime.now(timezone.utc).isoformat(),
                records=progress.records,
                pages=progress.pages,
                total=(progress.first_total, progress.last_total),
                file_format="ndjson",
                compression=compression,
                parts=parts,
            )
        )
    except BaseException:
        writer.discard()
        raise
    traffic = client.traffic
    summary = Summary(
        path=str(path),
        manifest=str(path / MANIFEST_NAME),
        run=writer.run,
        endpoint=endpoint,
        records=progress.records,
        total=progress.last_total,
        pages=progress.pages,
        parts=len(parts),
        bytes=sum(part.bytes for part in parts),
        requests=traffic.requests - before.requests,
        retries=traffic.retries - before.retries,
        seconds=round(clock() - began, 3),
    )
    progress.done(summary)
    return summary


class _Progress:
    """Counts pages, and tells the log every few seconds how far the pull is."""

    def __init__(self, endpoint: str, clock: Callable[[], float]) -> None:
        self.pages = 0
        self.records = 0
        self.first_total: int | None = None
        self.last_total: int | None = None
        self._endpoint = endpoint
        self._clock = clock
        self._due = clock() + PROGRESS_EVERY

    def add(self, page: Page) -> None:
        self.pages += 1
        self.records += len(page.records)
        self.last_total = page.total
        if self.pages == 1:
            self.first_total = page.total
            log.info("%s: %s", self._endpoint, self._so_far(page))
        elif self._clock() >= self._due:
            self._due = self._clock() + PROGRESS_EVERY
            log.info("%s: %s", self._endpoint, self._so_far(page))

    def _so_far(self, page: Page) -> str:
        pages = f"page {self.pages:,}" + (f" of {page.last_page:,}" if page.last_page else "")
        of = f" of {page.total:,}" if page.total is not None else ""
        return f"{pages}, {self.records:,}{of} records"

    def done(self, summary: Summary) -> None:
        log.info(
            "%s: complete. %s records, %s pages, %s requests, %s retries, %.1f s, into %s",
            self._endpoint, f"{summary.records:,}", f"{summary.pages:,}", f"{summary.requests:,}",
            f"{summary.retries:,}", summary.seconds, summary.path,
        )  # fmt: skip
        if summary.total is not None and summary.total != summary.records:
            log.warning(
                "%s: the server counts %s records and %s came: the list changed while it was pulled, "
                "so records may be missing or twice.",
                self._endpoint, f"{summary.total:,}", f"{summary.records:,}",
            )  # fmt: skip
