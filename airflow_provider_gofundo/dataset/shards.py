"""Shards: one list pulled by several tasks, and the one manifest that makes their parts a dataset."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.dataset.checkpoint import Checkpoints
from airflow_provider_gofundo.dataset.collector import Collector
from airflow_provider_gofundo.dataset.drift import Drift
from airflow_provider_gofundo.dataset.keys import KeySet, are_in_order, repeats
from airflow_provider_gofundo.dataset.manifest import Directory, Manifest
from airflow_provider_gofundo.dataset.names import began_later
from airflow_provider_gofundo.dataset.progress import Count
from airflow_provider_gofundo.dataset.pull import Summary, summary_of
from airflow_provider_gofundo.dataset.recipe import Recipe
from airflow_provider_gofundo.dataset.run import Run
from airflow_provider_gofundo.dataset.shard import Shard
from airflow_provider_gofundo.dataset.share import Share, have_moved, share_of, together, totals_of
from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoDriftError, GofundoStorageError
from airflow_provider_gofundo.pages.shapes import Step
from airflow_provider_gofundo.pages.walk import walk

log = logging.getLogger(__name__)


def pull_shard(
    client: GofundoClient,
    recipe: Recipe,
    path: Directory,
    shard: Shard,
    *,
    checkpoints: Checkpoints | None = None,
    count: Count | None = None,
) -> Share:
    """
    Pull one shard into a directory, beside the dataset that is there, and say so in the shard's own file.

    Nobody who trusts the manifest sees it before `publish` has put the shards together.
    """
    _refuse_incremental(recipe)
    asked, claim = _asked(client, recipe, path), recipe.endpoint
    recipe = shard.recipe(recipe)
    with Run(client, recipe, path, checkpoints=checkpoints, count=count, scope=str(shard)) as run:
        run.walk(shard.begin, shard.last_page, claim=claim)
        collector = run.collector
        share = Share(
            run=run.writer.run,
            started=run.started.isoformat(),
            recipe=asked,
            fell=collector.watch.fell > 0,
            first=collector.first,
            following=_following(client, recipe, shard, collector),
            order=collector.order,
            # A page range cannot tell a change of the whole list; `publish` can.
            drift=Drift(seen=collector.drifted, twice=collector.twice) if shard.first_page else run.mend(),
            parts=run.writer.finish(),
            records=collector.records,
            pages=collector.pages,
            total=(collector.watch.first, collector.watch.last),
        )
        run.resume.hold()
        run.writer.place(shard.file, msgspec.json.encode(share))
    run.resume.done()
    return share


def publish(
    client: GofundoClient, recipe: Recipe, path: Directory, shards: Sequence[Shard], *, count: Count | None = None
) -> Summary:
    """
    Make the parts of all shards one dataset. Until then, and if this raises, the one before stays.

    Where the list changed while its page ranges were pulled, they may overlap and have gaps. It is pulled anew then,
    here and whole. Shards that are pulled again while this runs are left for the next `publish`.
    """
    recipe.check()
    _refuse_incremental(recipe)
    _require_all(shards)
    plan = shards[0].run
    with Run(client, recipe, path, count=count) as run:
        before = run.writer.before
        if before and began_later(before.run, plan):
            raise GofundoConfigError(
                f"path {path} holds a dataset that was begun later than these shards; set max_active_runs=1 on the "
                "DAG."
            )
        there = {shard.number: share for shard in shards if (share := share_of(run.writer.document(shard.file)))}
        if before and before.run == plan and {share.run for share in there.values()} <= {*before.tries}:
            log.info("%s: these shards have been published already.", recipe.endpoint)
            return summary_of(before, path, 0, run.progress)
        run.writer.claim(recipe.endpoint)
        shares = _all(there, shards, path, _asked(client, recipe, path))
        ranges = bool(shards[0].first_page)
        moved = ranges and have_moved(shares)
        # In ranges or windows of one list no record may come twice; those of several lists have keys of their own.
        amiss = moved or (shards[0].endpoint is None and _repeat(run, recipe.record_key, shares))
        if amiss and recipe.on_drift == "fail":
            raise GofundoDriftError(f"{recipe.endpoint}: {_why(ranges)}")
        if amiss and ranges and recipe.on_drift == "repull":
            log.info("%s: %s Pulling it again, whole.", recipe.endpoint, _why(ranges))
            run.writer.spent = {part.name for share in shares for part in share.parts}
            run.walk()
            drift = run.mend()
            manifest = run.manifest(replace(drift, seen=True, repulls=drift.repulls + 1))
        else:
            manifest = _joined(run, path, shards, shares, amiss=amiss)
        manifest = replace(manifest, run=plan, tries=[share.run for share in shares])
        run.writer.publish(manifest)
        run.writer.tidy(
            shard.file
            for shard, share in zip(shards, shares, strict=True)
            if share_of(run.writer.document(shard.file)) == share
        )
    return summary_of(manifest, path, 0, run.progress)


def _repeat(run: Run, record_key: str | None, ranges: Sequence[Share]) -> bool:
    """Whether a record came in two page ranges. Where their order does not say, their parts are read."""
    if record_key is None or are_in_order([share.order for share in ranges if share.records]):
        return False
    known, found = KeySet(), list[bool]()
    parts = [part for share in ranges for part in share.parts]
    run.writer.read_back(parts, record_key, lambda values: found.append(repeats(values, known)))
    return any(found)


def _joined(run: Run, path: Directory, shards: Sequence[Shard], shares: Sequence[Share], *, amiss: bool) -> Manifest:
    if not run.writer.adopt([part for share in shares for part in share.parts]):
        raise GofundoStorageError(f"Parts of the shards are gone from {path}; clear the tasks that pulled them.")
    drift = together(shares)
    total = totals_of(shares)
    ranges = bool(shards[0].first_page)
    if ranges:
        total = shares[0].total[0], shares[-1].total[1]
        drift = replace(drift, complete=True)
    if amiss:
        log.warning("%s: %s Records may be missing, or twice in it.", run.endpoint, _why(ranges))
        drift = replace(drift, seen=True, complete=False)
    return replace(
        run.manifest(drift),
        started=min(share.started for share in shares),
        shards=len(shards),
        records=sum(share.records for share in shares),
        pages=sum(share.pages for share in shares),
        total=total,
    )


def _why(ranges: bool) -> str:
    if ranges:
        return "The list changed while its shards were pulled."
    return (
        "Some records came in more than one window: the windows overlap, the server does not know their parameters, "
        "or records changed meanwhile."
    )


def _all(there: Mapping[int, Share], shards: Sequence[Shard], path: Directory, asked: str) -> list[Share]:
    for shard in shards:
        if shard.number not in there:
            raise GofundoStorageError(
                f"Shard {shard.number} of {shard.of} has not been pulled into {path}; clear its task."
            )
        if there[shard.number].recipe != asked:
            raise GofundoConfigError(
                f"Shard {shard.number} of {shard.of} was pulled with other arguments, or another connection, than "
                "these; give both operators the same, and clear the pulls."
            )
    return [there[shard.number] for shard in shards]


def _asked(client: GofundoClient, recipe: Recipe, path: Directory) -> str:
    return recipe.fingerprint(client.settings, str(path))


def _following(client: GofundoClient, recipe: Recipe, shard: Shard, collector: Collector) -> str | None:
    """Look which record comes after a page range now: the next range has to begin with it."""
    if shard.last_page is None:
        return None
    step = Step("page", str(shard.last_page + 1))
    page = next(walk(client, recipe.endpoint, query_params=recipe.query_params, parallel=1, begin=step))
    return collector.mark(page.records[0]) if page.records else None


def _require_all(shards: Sequence[Shard]) -> None:
    numbers = {(shard.run, shard.of, shard.number) for shard in shards}
    if not shards or numbers != {(shards[0].run, len(shards), n) for n in range(1, len(shards) + 1)}:
        raise GofundoConfigError("shards must be all that one GofundoPlanShardsOperator has made, and no others.")


def _refuse_incremental(recipe: Recipe) -> None:
    if recipe.incremental:
        raise GofundoConfigError(
            "incremental and shards do not go together: a watermark is of one pull. Take one of them out."
        )
