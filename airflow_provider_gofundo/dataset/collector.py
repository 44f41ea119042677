"""Collector: the pages of a list become parts, each record once."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import replace

import msgspec

from airflow_provider_gofundo.dataset.checkpoint import Checkpoint, mark_of
from airflow_provider_gofundo.dataset.drift import Watch
from airflow_provider_gofundo.dataset.incremental import Watermark
from airflow_provider_gofundo.dataset.keys import Once
from airflow_provider_gofundo.dataset.place import Place, Placed
from airflow_provider_gofundo.dataset.progress import Progress
from airflow_provider_gofundo.dataset.recipe import Recipe
from airflow_provider_gofundo.dataset.writer import DatasetWriter
from airflow_provider_gofundo.exceptions import GofundoConfigError
from airflow_provider_gofundo.pages.shapes import Page
from airflow_provider_gofundo.settings import Settings

log = logging.getLogger(__name__)


class Collector:
    """
    Takes pages and writes their records, each once, without what is to be hidden.

    `watch` is what the walk saw of the list's total, `once` which records came.
    """

    def __init__(
        self,
        settings: Settings,
        recipe: Recipe,
        writer: DatasetWriter,
        progress: Progress,
        watermark: Watermark | None = None,
    ) -> None:
        self.watch = Watch()
        self.records = 0
        self.pages = 0
        self.first: str | None = None  # the mark of the first record
        self._open: deque[Placed] = deque()  # pages that may hold the last record of the next part to be finished
        self._settings = settings
        self._recipe = recipe
        self._writer = writer
        self._progress = progress
        self.watermark = watermark
        self._privacy = recipe.privacy(settings)
        self._privacy_midway = replace(recipe, unknown_fields="ignore").privacy(settings)
        self.once = Once(recipe.record_key)
        self.per_page = 1

    @property
    def drifted(self) -> bool:
        """Whether there has been a sign that the list is changing."""
        return self.watch.changed or self.once.twice > 0

    def mark(self, record: msgspec.Raw) -> str:
        """Return what tells a record of the server from others: a digest of its key, or of all of it."""
        (written,) = self._privacy_midway([record])
        (key,) = self.once.keys([written]) or [None]
        return mark_of(self._settings, bytes(written) if key is None else str(key).encode())

    @property
    def order(self) -> tuple[int, int] | None:
        """The first key and the last, where the keys only rose or only fell; else None."""
        return self.once.order

    @property
    def twice(self) -> int:
        """How many records came again and were left out."""
        return self.once.twice

    def go_on(self, found: Checkpoint) -> int:
        """Count in what an earlier try has written; return how many records."""
        self.records, self.pages = sum(part.records for part in found.parts), found.pages
        self.first = found.first
        self._privacy = self._privacy_midway  # on its first page the earlier try has found what was asked for
        self.watch.see(found.total, None)
        if self.watermark:
            self.watermark.go_on(found.watermark, found.started)
        self._progress.resume(self.records)
        return self.records

    def take(self, page: Page, *, skip: int = 0) -> int:
        """Write those records of a page that are new, but for the first `skip`; return how many there were."""
        if self.watermark:
            self.watermark.see(page.records)
        self.watch.see(page.total, page.number)
        records = self._privacy(page.records)
        if self.first is None and records:
            self.first = self.mark(page.records[0])
        keys = self.once.keys(records)
        if not self.pages and keys and not any(keys):
            log.warning(
                "%s: the records have no field %s, so those that come twice cannot be told, nor a list mended that "
                "changes meanwhile. Name their key with record_key; None where they have none.",
                self._recipe.endpoint, self._recipe.record_key,
            )  # fmt: skip
        in_order = not self.once.remembers and self.once.in_order(keys)
        if not in_order and self.once.clash(page.records, keys):
            raise GofundoConfigError(
                f"{self._recipe.endpoint}: record_key {self._recipe.record_key} does not tell its records apart: one "
                "page holds unlike ones that have the same. Name another field, or None."
            )
        if not self.once.remembers and self._recipe.record_key and (self.watch.changed or not in_order):
            self.remember()
        records, keys = records[skip:], keys[skip:]  # those before have been written
        new = self.once.new(records, keys)
        if self.drifted:
            self._open.clear()
        else:
            self._open.append(Placed(page, self.pages, skip, self.records, self.records + len(new)))
        self._writer.write(new)
        while len(self._open) > 1 and self._open[0].end < self._writer.settled:
            self._open.popleft()
        self.records += len(new)
        self.pages += 1
        self.per_page = max(self.per_page, len(page.records))
        self._progress.add(page, self.pages, self.records)
        return len(new)

    def place(self) -> Place | None:
        """Return where the finished parts end."""
        finished = self._writer.finished
        for placed in self._open:
            if placed.start < finished <= placed.end:
                count = placed.skip + finished - placed.start
                return Place(placed.page.step, placed.pages, count, self.mark(placed.page.records[count - 1]))
        return None

    def remember(self) -> None:
        """From here on know every key, those in finished parts included; 16 bytes each."""
        self._writer.finish()
        self.once.remember(())
        if self._recipe.record_key:
            self._writer.read_back(self._writer.parts, self._recipe.record_key, self.once.remember)
