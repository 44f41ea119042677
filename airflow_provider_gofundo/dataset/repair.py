"""Repair: a list that changed while it was walked is walked again, as far as that is needed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.dataset.collector import Collector
from airflow_provider_gofundo.dataset.drift import NEGLIGIBLE, REPULLS, Drift, Watch
from airflow_provider_gofundo.dataset.recipe import Recipe
from airflow_provider_gofundo.exceptions import GofundoDriftError
from airflow_provider_gofundo.pages.shapes import Page, Step
from airflow_provider_gofundo.pages.walk import READY, walk, walk_back

log = logging.getLogger(__name__)


class Repair:
    """What is done about a list once a collector has its pages, the first to the last."""

    def __init__(
        self, client: GofundoClient, recipe: Recipe, query_params: Mapping[str, Any] | None, collector: Collector
    ) -> None:
        self._client = client
        self._recipe = recipe
        self._query_params = query_params
        self._collector = collector
        self._once = collector.once
        self._twice = collector.once.twice  # in the first walk; in the next ones nearly all come again
        self._repulls = self._added = 0
        self._certain = False

    @property
    def _watch(self) -> Watch:
        return self._collector.watch

    @property
    def _records(self) -> int:
        return self._collector.records

    def mend(self) -> Drift:
        """Find out whether the list changed while it was walked, and walk again if so, as far as that is needed."""
        has_total = self._watch.last is not None
        if not self._is_suspect():
            complete = True if has_total or self._collector.pages == 1 else None
            return Drift(seen=self._watch.changed, twice=self._twice, complete=complete)
        can_mend = self._watch.number > 0 and self._recipe.record_key is not None and self._once.can_tell
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
        first, last = self._watch.first, self._watch.last
        if self._watch.changed and not (self._recipe.record_key and self._once.can_tell):
            return True  # for all that can be known, some came twice and as many are missing
        if self._watch.fell or first is None or last is None:
            return self._watch.fell > 0 or self._once.twice > 0
        if self._watch.rose and self._recipe.parallel == 1:
            return not first <= self._records <= last  # what was added in front of the walk is not in it
        return self._once.twice > 0 or self._records != last

    def _told(self) -> str:
        total = f"; the server counted {self._watch.first:,} at first and {self._watch.last:,} at last" if (
            self._watch.first is not None and self._watch.last is not None
        ) else ""  # fmt: skip
        return (
            f"The list changed while it was pulled: {self._records:,} records came, {self._twice:,} of them "
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
            self._collector.remember()
        reach = 1 if self._recipe.parallel == 1 else self._recipe.parallel * READY + 1
        missing = self._records * self._watch.odds(reach, self._records)
        some = self._watch.around(reach, self._collector.per_page) if self._watch.explains(self._records) else []
        if 0 < 2 * sum(map(len, some)) < self._watch.number:
            self._again("around the changes", chain.from_iterable(self._walk(pages) for pages in some))
            self._certain = not self._watch.changed
        backward, added = True, 1
        while self._repulls < REPULLS and not (self._complete or (missing < NEGLIGIBLE and self._enough)):
            if self._certain and not added:
                break  # although the server counts more: its total is off, or the key not unique
            if backward:
                begin = self._watch.number
                walk_ = walk_back(self._client, self._recipe.endpoint, query_params=self._query_params, begin=begin)
                added = self._again("backward", walk_)
                self._certain = not self._watch.rose
            else:
                added = self._again("forward", self._walk())
                self._certain = not self._watch.fell
            missing *= self._watch.odds(1, self._records)
            backward = not backward

    @property
    def _complete(self) -> bool:
        """Whether nothing was missed, and there are as many records as the server counts at least."""
        return self._certain and self._once.can_tell and self._enough

    @property
    def _enough(self) -> bool:
        return self._records >= (self._watch.last or 0)

    def _walk(self, pages: range | None = None) -> Iterator[Page]:
        begin = Step("page", str(pages.start)) if pages else None
        end = pages.stop - 1 if pages else None
        query = self._query_params
        return walk(self._client, self._recipe.endpoint, query_params=query, parallel=1, begin=begin, end=end)

    def _again(self, where: str, pages: Iterator[Page]) -> int:
        log.info("%s: %s Walking it again, %s.", self._recipe.endpoint, self._told(), where)
        before, self._collector.watch = self._watch, Watch()
        self._repulls += 1
        added = sum(self._collector.take(page) for page in pages)
        self._added += added
        self._watch.first = before.first
        self._watch.number = max(before.number, self._watch.number)
        return added
