"""Collector: the pages of a list become parts, each record once, also where the list changes meanwhile."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import msgspec

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.dataset.checkpoint import Checkpoint, mark_of
from airflow_provider_gofundo.dataset.drift import NEGLIGIBLE, REPULLS, Drift, Watch
from airflow_provider_gofundo.dataset.incremental import Watermark
from airflow_provider_gofundo.dataset.keys import Once
from airflow_provider_gofundo.dataset.place import Place, Placed
from airflow_provider_gofundo.dataset.progress import Progress
from airflow_provider_gofundo.dataset.recipe import Recipe
from airflow_provider_gofundo.dataset.writer import DatasetWriter
from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoDriftError
from airflow_provider_gofundo.pages.shapes import Page, Step
from airflow_provider_gofundo.pages.walk import READY, walk, walk_back

log = logging.getLogger(__name__)


class Collector:
    """
    Takes pages and writes their records, each once, without what is to be hidden.

    `watch` is what the walk saw of the list's total.
    """

    def __init__(
        self,
        client: GofundoClient,
        recipe: Recipe,
        query_params: Mapping[str, Any] | None,
        writer: DatasetWriter,
        progress: Progress,
        watermark: Watermark | None = None,
    ) -> None:
        self.watch = Watch()
        self.records = 0
        self.pages = 0
        self.first: str | None = None  # the mark of the first record
        self._open: deque[Placed] = deque()  # pages that may hold the last record of the next part to be finished
        self._client = client
        self._recipe = recipe
        self._query_params = query_params
        self._writer = writer
        self._progress = progress
        self.watermark = watermark
        self._privacy = recipe.privacy(client.settings)
        self._privacy_midway = replace(recipe, unknown_fields="ignore").privacy(client.settings)
        self._once = Once(recipe.record_key)
        self._repulls = self._added = self._twice = 0
        self._certain = False
        self._per_page = 1

    @property
    def drifted(self) -> bool:
        """Whether there has been a sign that the list is changing."""
        return self.watch.changed or self._once.twice > 0

    def mark(self, record: msgspec.Raw) -> str:
        """Return what tells a record of the server from others: a digest of its key, or of all of it."""
        (written,) = self._privacy_midway([record])
        (key,) = self._once.keys([written]) or [None]
        return mark_of(self._client.settings, bytes(written) if key is None else str(key).encode())

    @property
    def order(self) -> tuple[int, int] | None:
        """The first key and the last, where the keys only rose or only fell; else None."""
        return self._once.order

    @property
    def twice(self) -> int:
        """How many records came again and were left out."""
        return self._once.twice

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
        keys = self._once.keys(records)
        if not self.pages and keys and not any(keys):
            log.warning(
                "%s: the records have no field %s, so those that come twice cannot be told, nor a list mended that "
                "changes meanwhile. Name their key with record_key; None where they have none.",
                self._recipe.endpoint, self._recipe.record_key,
            )  # fmt: skip
        in_order = not self._once.remembers and self._once.in_order(keys)
        if not in_order and self._once.clash(page.records, keys):
            raise GofundoConfigError(
                f"{self._recipe.endpoint}: record_key {self._recipe.record_key} does not tell its records apart: one "
                "page holds unlike ones that have the same. Name another field, or None."
            )
        if not self._once.remembers and self._recipe.record_key and (self.watch.changed or not in_order):
            self._remember()
        records, keys = records[skip:], keys[skip:]  # those before have been written
        new = self._once.new(records, keys)
        if self.drifted:
            self._open.clear()
        else:
            self._open.append(Placed(page, self.pages, skip, self.records, self.records + len(new)))
        self._writer.write(new)
        while len(self._open) > 1 and self._open[0].end < self._writer.settled:
            self._open.popleft()
        self.records += len(new)
        self.pages += 1
        self._per_page = max(self._per_page, len(page.records))
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

    def mend(self) -> Drift:
        """Find out whether the list changed while it was walked, and walk again if so, as far as that is needed."""
        has_total = self.watch.last is not None
        self._twice = self._once.twice
        if not self._is_suspect():
            complete = True if has_total or self.pages == 1 else None
            return Drift(seen=self.watch.changed, twice=self._twice, complete=complete)
        can_mend = self.watch.number > 0 and self._recipe.record_key is not None and self._once.can_tell
        if self._recipe.on_drift == "fail":
            raise GofundoDriftError(
                f"{self._recipe.endpoint}: {self._told()} Pull it again, at a quieter hour or with a filter that "
                "keeps changing records out; or allow on_drift='repull'.",
                retry_in=0.0,
            )
        if self._recipe.on_drift == "repull" and can_mend:
            self._repull()
        elif self._recipe.on_drift == "repull":
            log.warning(
                "%s: it cannot be walked again: it has no page numbers, or records without a record_key.",
                self._recipe.endpoint,
            )
        if not self._complete:
            log.warning(
                "%s: %s Some records may be missing; or the server's total is off, or record_key is not unique.",
                self._recipe.endpoint, self._told(),
            )  # fmt: skip
        return Drift(
            seen=True,
            twice=self._twice,
            repulls=self._repulls,
            added=self._added,
            complete=self._complete if has_total else None,
        )

    def _is_suspect(self) -> bool:
        first, last = self.watch.first, self.watch.last
        if self.watch.changed and not (self._recipe.record_key and self._once.can_tell):
            return True  # for all that can be known, some came twice and as many are missing
        if self.watch.fell or first is None or last is None:
            return self.watch.fell > 0 or self._once.twice > 0
        if self.watch.rose and self._recipe.parallel == 1:
            return not first <= self.records <= last  # what was added in front of the walk is not in it
        return self._once.twice > 0 or self.records != last

    def _told(self) -> str:
        total = f"; the server counted {self.watch.first:,} at first and {self.watch.last:,} at last" if (
            self.watch.first is not None and self.watch.last is not None
        ) else ""  # fmt: skip
        return (
            f"The list changed while it was pulled: {self.records:,} records came, {self._twice:,} of them "
            f"again{total}."
        )

    def _repull(self) -> None:
        """
        Walk again: around the changes where they were few, else back and forth until a walk has missed nothing.

        A walk is certain to have seen all that was there all the time when the list only shrank while it went
        backward, or only grew while it went forward, one page after the other. A list that changes both ways in
        every walk is walked until a record that all walks have missed is most unlikely.
        """
        if not self._once.remembers:
            self._remember()
        reach = 1 if self._recipe.parallel == 1 else self._recipe.parallel * READY + 1
        missing = self.records * self.watch.odds(reach, self.records)
        some = self.watch.around(reach, self._per_page) if self.watch.explains(self.records) else []
        if 0 < 2 * sum(map(len, some)) < self.watch.number:
            self._again("around the changes", chain.from_iterable(self._walk(pages) for pages in some))
            self._certain = not self.watch.changed
        backward, added = True, 1
        while self._repulls < REPULLS and not (self._complete or (missing < NEGLIGIBLE and self._enough)):
            if self._certain and not added:
                break  # although the server counts more: its total is off, or the key not unique
            if backward:
                begin = self.watch.number
                walk_ = walk_back(self._client, self._recipe.endpoint, query_params=self._query_params, begin=begin)
                added = self._again("backward", walk_)
                self._certain = not self.watch.rose
            else:
                added = self._again("forward", self._walk())
                self._certain = not self.watch.fell
            missing *= self.watch.odds(1, self.records)
            backward = not backward

    @property
    def _complete(self) -> bool:
        """Whether nothing was missed, and there are as many records as the server counts at least."""
        return self._certain and self._once.can_tell and self._enough

    @property
    def _enough(self) -> bool:
        return self.records >= (self.watch.last or 0)

    def _walk(self, pages: range | None = None) -> Iterator[Page]:
        begin = Step("page", str(pages.start)) if pages else None
        end = pages.stop - 1 if pages else None
        query = self._query_params
        return walk(self._client, self._recipe.endpoint, query_params=query, parallel=1, begin=begin, end=end)

    def _again(self, where: str, pages: Iterator[Page]) -> int:
        log.info("%s: %s Walking it again, %s.", self._recipe.endpoint, self._told(), where)
        before, self.watch = self.watch, Watch()
        self._repulls += 1
        added = sum(self.take(page) for page in pages)
        self._added += added
        self.watch.first = before.first
        self.watch.number = max(before.number, self.watch.number)
        return added

    def _remember(self) -> None:
        """From here on know every key, those in finished parts included; 16 bytes each."""
        self._writer.finish()
        self._once.remember(())
        if self._recipe.record_key:
            self._writer.read_back(self._writer.parts, self._recipe.record_key, self._once.remember)
