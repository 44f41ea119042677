"""Resume: a try goes on after the last part that an earlier try of the same task has finished, and takes it over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing
from datetime import datetime, timezone

from msgspec.structs import replace

from airflow_provider_gofundo.dataset.checkpoint import Checkpoint, Checkpoints
from airflow_provider_gofundo.dataset.collector import Collector
from airflow_provider_gofundo.dataset.writer import DatasetWriter
from airflow_provider_gofundo.exceptions import GofundoApiError, GofundoResponseError, GofundoStopped
from airflow_provider_gofundo.pages.shapes import Page, Step

log = logging.getLogger(__name__)


class Resume:
    """
    Where a pull begins, and the checkpoints it leaves in a store, if there is one. `recipe` is a digest of it.

    A try that is taken for dead may be alive, and share parts with the one after it. So the later one says that it
    has taken over, and the earlier one, as soon as it sees that, ends.
    """

    def __init__(
        self,
        store: Checkpoints | None,
        recipe: str,
        writer: DatasetWriter,
        collector: Collector,
        started: datetime,
    ) -> None:
        self.records = 0
        self._store = store
        self._recipe = recipe
        self._writer = writer
        self._collector = collector
        self._started = started
        self._kept: Checkpoint | None = None
        self._overtaken: set[str] = set()  # tries that have to end, should they be alive

    @property
    def kept(self) -> Collection[str]:
        """The names of the parts that the next try may go on after."""
        return {part.name for part in self._kept.parts} if self._kept else ()

    def pages(self, walk: Callable[[Step | None], Generator[Page, None, None]]) -> Iterator[tuple[Page, int]]:
        """Yield the pages of `walk(begin)` that are still to be taken, and how many of their records to skip."""
        text = self._store.read() if self._store else ""
        left = Checkpoint.decode(text)
        if self._store and left:
            self._overtaken = {*left.overtaken, left.run}
            self._store.write(replace(left, run=self._writer.run, overtaken=sorted(self._overtaken)).encode())
        found = left if left and left.is_of(self._recipe) else None
        if found:
            with closing(walk(found.step)) as pages:
                page = self._first(pages)
                if page and self._stands(found, page) and self._writer.adopt(found.parts):
                    self._go_on(found)
                    yield page, found.count
                    for page in pages:
                        yield page, 0
                    return
        if text:
            log.info("What an earlier try has left is too old, or no longer fits the list. Starting over.")
        for page in walk(None):
            if text:  # only now, for a server that is down takes no checkpoint away
                self.hold()
                self.done()
                text = ""
            yield page, 0

    def _first(self, pages: Iterator[Page]) -> Page | None:
        try:
            return next(pages)
        except (GofundoApiError, GofundoResponseError):  # what led there leads nowhere now
            return None

    def _stands(self, found: Checkpoint, page: Page) -> bool:
        """Whether the last record that was written is still where it was."""
        if len(page.records) < found.count:
            return False
        return self._collector.mark(page.records[found.count - 1]) == found.mark

    def _go_on(self, found: Checkpoint) -> None:
        self._kept = found
        self._started = found.started
        self.records = self._collector.go_on(found)
        log.info("Going on after %s records that an earlier try has written.", f"{self.records:,}")

    def save(self) -> None:
        """Leave a checkpoint if a part was finished since the last one; none once the list was seen to change."""
        parts = self._writer.parts
        if self._store is None or len(parts) == len(self.kept) or self._collector.drifted:
            return
        place = self._collector.place()
        if place is None:
            return
        self.hold()
        self._kept = Checkpoint(
            recipe=self._recipe,
            started=self._started,
            saved=datetime.now(timezone.utc),
            parts=list(parts),
            step=place.step,
            count=place.count,
            mark=place.mark,
            pages=place.pages,
            total=self._collector.watch.first,
            first=self._collector.first,
            watermark=self._collector.watermark.text if self._collector.watermark else None,
            run=self._writer.run,
            overtaken=sorted(self._overtaken),
        )
        self._store.write(self._kept.encode())

    def hold(self) -> None:
        """Go on only as long as no later try of the same task has taken over; GofundoStopped."""
        text = self._store.read() if self._store else None
        left, own = Checkpoint.decode(text), self._writer.run
        if text == "" and self._kept:
            raise GofundoStopped("Another try of this task has come to its end meanwhile, so this one ends.")
        if left is None or left.run == own:
            return
        # Of two that have not seen each other at their start, the one that began later goes on.
        if own in left.overtaken or (left.run not in self._overtaken and left.run > own):
            raise GofundoStopped("A later try of this task has taken this pull over, so this one ends.")
        self._overtaken.add(left.run)

    def done(self) -> None:
        """Take the checkpoint away: it would mislead a later run of the same task."""
        if self._store:
            self._store.clear()
