"""Run: a pull under way, from the first page to a manifest; what it wrote is gone when it fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial

from msgspec.structs import replace

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.client.query import encode
from airflow_provider_gofundo.dataset.checkpoint import Checkpoints
from airflow_provider_gofundo.dataset.collector import Collector
from airflow_provider_gofundo.dataset.drift import Drift
from airflow_provider_gofundo.dataset.incremental import Watermark, Watermarks, shown
from airflow_provider_gofundo.dataset.manifest import Directory, Manifest, Window
from airflow_provider_gofundo.dataset.progress import Count, Progress
from airflow_provider_gofundo.dataset.recipe import Recipe
from airflow_provider_gofundo.dataset.repair import Repair
from airflow_provider_gofundo.dataset.resume import Resume
from airflow_provider_gofundo.dataset.writer import DatasetWriter
from airflow_provider_gofundo.exceptions import GofundoConfigError
from airflow_provider_gofundo.pages.shapes import Step
from airflow_provider_gofundo.pages.walk import walk

log = logging.getLogger(__name__)


class Run:
    """
    One pull of a recipe into a directory.

    As a context it removes the run's files when an error leaves it, but for parts that the next try may go on after.
    `scope` says which share of the list it is, where it is not all of it.
    """

    def __init__(
        self,
        client: GofundoClient,
        recipe: Recipe,
        path: Directory,
        *,
        checkpoints: Checkpoints | None = None,
        watermarks: Watermarks | None = None,
        count: Count | None = None,
        clock: Callable[[], float] = time.monotonic,
        scope: str = "",
    ) -> None:
        recipe.check()
        self._client = client
        self._recipe = recipe
        self.endpoint = recipe.endpoint
        self._watermarks = watermarks
        self.started = datetime.now(timezone.utc)
        self.progress = Progress(recipe.endpoint, client, count=count, clock=clock)
        self._format = recipe.format()
        self.writer = DatasetWriter(
            path,
            file_format=self._format,
            records_per_part=recipe.records_per_part,
            started=self.started,
        )
        self.writer.open()
        self._window = _window(recipe, self.writer.before, watermarks)
        self._query = dict(recipe.query_params or {})
        watermark = None
        if recipe.incremental and self._window:
            watermark = Watermark(recipe.incremental, self.started, self._window.watermark, self._window.since)
            if self._window.since is not None:
                self._query[self._window.param] = self._window.since
            log.info("%s: asks for what changed since %s.", recipe.endpoint, self._window.since or "ever")
        self._reached: str | None = None  # from where the next pull goes on
        self.collector = Collector(client.settings, recipe, self.writer, self.progress, watermark)
        asked = recipe.fingerprint(client.settings, str(path), self._window and self._window.since, scope)
        self.resume = Resume(checkpoints, asked, self.writer, self.collector, self.started)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind:
            self.writer.discard(keep=self.resume.kept)
        self.progress.tell()

    def walk(self, begin: Step | None = None, end: int | None = None, *, claim: str | None = None) -> None:
        """
        Take the list's pages, all of them unless told where to begin and to end.

        A dataset in the directory has to be of the same endpoint, or of the one to `claim`.
        """
        recipe = self._recipe
        pages = partial(
            walk, self._client, recipe.endpoint, query_params=self._query, parallel=recipe.parallel, end=end
        )
        for page, skip in self.resume.pages(lambda step: pages(begin=step or begin)):
            if not self.collector.pages:
                self.writer.claim(claim or recipe.endpoint)
                if not claim:
                    self._tell_of_other_query()
            self.collector.take(page, skip=skip)
            self.resume.save()

    def mend(self) -> Drift:
        """Find out whether the list changed while it was walked, and walk again if so, as far as that is needed."""
        return Repair(self._client, self._recipe, self._query, self.collector).mend()

    def _tell_of_other_query(self) -> None:
        """Say so where this replaces what was asked for otherwise, which may be by mistake: it is gone then."""
        before, now = self.writer.before, encode(self._query)
        if before and not self._window:
            was = before.query_params
            changed = {name for name in {*was, *now} - {"per_page"} if was.get(name) != now.get(name)}
            if changed:
                log.warning(
                    "%s: this replaces a dataset that was pulled with another %s; a path each keeps both.",
                    self.endpoint, ", ".join(map(repr, sorted(changed))),
                )  # fmt: skip

    def manifest(self, drift: Drift) -> Manifest:
        """Close the last part, and describe what was done."""
        recipe, collector = self._recipe, self.collector
        parts = self.writer.finish()
        if collector.records and self._format.unseen:
            log.warning(
                "%s: schema: no record has a value in %s; are they called so, and at the top level?",
                recipe.endpoint, ", ".join(map(repr, sorted(self._format.unseen))),
            )  # fmt: skip
        finished = datetime.now(timezone.utc)
        if collector.watermark and self._window:
            self._reached = collector.watermark.settled(finished)
            if drift.complete is False and recipe.on_drift != "warn":
                log.warning("%s: the watermark stays, so that the next pull asks for this again.", recipe.endpoint)
                self._reached = self._window.watermark
        return Manifest(
            run=self.writer.run,
            source=self._client.settings.base_url,
            endpoint=recipe.endpoint,
            query_params=encode(self._query),
            started=self.started.isoformat(),
            finished=finished.isoformat(),
            records=collector.records,
            pages=collector.pages,
            total=(collector.watch.first, collector.watch.last),
            file_format=recipe.file_format,
            compression=recipe.compression,
            record_key=recipe.record_key,
            drift=drift,
            incremental=replace(self._window, watermark=shown(self._reached)) if self._window else None,
            excluded=sorted(recipe.exclude_fields),
            pseudonymized=sorted(recipe.pseudonymize_fields),
            parts=parts,
        )

    def settle(self, manifest: Manifest) -> None:
        """Remember what was published: the watermark moves, and there is nothing left to resume."""
        if self._watermarks and self._reached:
            self._watermarks.advance(self._reached)
            log.info("%s: the next pull goes on from %s.", manifest.endpoint, shown(self._reached))
        self.resume.done()


def _window(recipe: Recipe, before: Manifest | None, watermarks: Watermarks | None) -> Window | None:
    """Return what an incremental pull covers; `watermark` is the one to go on from."""
    how = recipe.incremental
    if how is None:
        return None
    if watermarks is None:
        raise GofundoConfigError("incremental needs a place for its watermark; give pull() watermarks.")
    known = watermarks.read()
    if before is None:
        return Window(param=how.param, field=how.field, since=how.since(known), watermark=known)
    then = before.incremental
    if then is None or (then.param, then.field) != (how.param, how.field):
        raise GofundoConfigError(
            f"path holds a dataset of {before.endpoint} that was not pulled by {how.param}, and would be lost; give "
            "every incremental pull a path of its own, such as s3://lake/donations/{{ ts_nodash }}."
        )
    # A task that was cleared, or a path that several runs share: what is replaced must be covered.
    log.info("%s: replaces what was pulled since %s, and pulls it again.", recipe.endpoint, then.since or "ever")
    return replace(then, watermark=known)
