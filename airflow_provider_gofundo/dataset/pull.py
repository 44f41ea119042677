"""The pull: a list of the server becomes a dataset."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.dataset.checkpoint import Checkpoints
from airflow_provider_gofundo.dataset.incremental import Watermarks
from airflow_provider_gofundo.dataset.manifest import MANIFEST_NAME, Directory, Manifest
from airflow_provider_gofundo.dataset.progress import Count, Progress
from airflow_provider_gofundo.dataset.recipe import Recipe
from airflow_provider_gofundo.dataset.run import Run

log = logging.getLogger(__name__)


# In the log, by what is known of it.
ENDED = {
    True: "complete",
    False: "published, though records may be missing",
    None: "done; the list tells no total to hold it against",
}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """
    What a pull did; counts, and times in seconds.

    `resumed` of the records were written by an earlier try. `total` is what the server said last, None if it did
    not; `complete` is as in the manifest's drift, `watermark` as in its window.
    """

    path: str
    manifest: str
    run: str
    endpoint: str
    records: int
    resumed: int
    total: int | None
    complete: bool | None
    watermark: str | None
    pages: int
    parts: int
    bytes: int
    requests: int
    retries: int
    seconds: float


def pull(
    client: GofundoClient,
    recipe: Recipe,
    path: Directory,
    *,
    checkpoints: Checkpoints | None = None,
    watermarks: Watermarks | None = None,
    count: Count | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Summary:
    """
    Pull a list into a directory as a dataset, and return what was done.

    The directory holds the new dataset when this returns, and what it held before when this raises.

    With `checkpoints` the next try of the same task goes on where this one ended. `watermarks` are for a recipe that
    is incremental. `count` is told every few seconds what was added.
    """
    with Run(client, recipe, path, checkpoints=checkpoints, watermarks=watermarks, count=count, clock=clock) as run:
        run.walk()
        drift = run.mend()
        manifest = run.manifest(drift)
        run.resume.hold()
        run.writer.publish(manifest)
    run.settle(manifest)
    return summary_of(manifest, path, run.resume.records, run.progress)


def summary_of(manifest: Manifest, path: Directory, resumed: int, progress: Progress) -> Summary:
    """Return what a published manifest says in short, and say so in the log."""
    summary = Summary(
        path=str(path),
        manifest=str(path / MANIFEST_NAME),
        run=manifest.run,
        endpoint=manifest.endpoint,
        records=manifest.records,
        resumed=resumed,
        total=manifest.total[1],
        complete=manifest.drift.complete,
        watermark=manifest.incremental.watermark if manifest.incremental else None,
        pages=manifest.pages,
        parts=len(manifest.parts),
        bytes=sum(part.bytes for part in manifest.parts),
        requests=progress.requests,
        retries=progress.retries,
        seconds=round(progress.seconds, 3),
    )
    log.info(
        "%s: %s. %s records, %s pages, %s requests, %s retries, %.1f s, into %s",
        summary.endpoint, ENDED[summary.complete], f"{summary.records:,}", f"{summary.pages:,}",
        f"{summary.requests:,}", f"{summary.retries:,}", summary.seconds, summary.path,
    )  # fmt: skip
    return summary
