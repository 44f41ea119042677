"""Shard: one of the parts that a list is pulled in by tasks of their own, and how such parts are planned."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace as with_
from datetime import datetime, timezone
from typing import Any

import msgspec

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.dataset.names import run_name
from airflow_provider_gofundo.dataset.recipe import Recipe
from airflow_provider_gofundo.exceptions import GofundoConfigError
from airflow_provider_gofundo.pages.shapes import Step
from airflow_provider_gofundo.pages.walk import walk

log = logging.getLogger(__name__)


class Shard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    One of the parts that a list is pulled in: number `number` of `of`, all of them of one `run`.

    Either pages `first_page` to `last_page` (None: to the end), or the list that `query_params` beside the pull's
    own, or another `endpoint`, name. Plain JSON, so it travels between tasks as an XCom.
    """

    run: str
    number: int
    of: int
    first_page: int | None = None
    last_page: int | None = None
    query_params: dict[str, Any] = {}
    endpoint: str | None = None

    @property
    def file(self) -> str:
        """The name of the file that says it has been pulled."""
        return f"{self.run}-{self.number:05d}.shard"

    @property
    def begin(self) -> Step | None:
        """What asks for its first page."""
        return Step("page", str(self.first_page)) if self.first_page and self.first_page > 1 else None

    def as_xcom(self) -> dict[str, Any]:
        """Return it as plain values; `shard_of` makes it one again."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        return values

    def recipe(self, recipe: Recipe) -> Recipe:
        """Return what to pull for it."""
        return with_(
            recipe,
            endpoint=self.endpoint or recipe.endpoint,
            query_params={**(recipe.query_params or {}), **self.query_params},
        )


def by_pages(client: GofundoClient, recipe: Recipe, count: int) -> list[Shard]:
    """Read page 1, and return shards of about as many pages each; GofundoConfigError where there is no last page."""
    if type(count) is not int or count < 1:
        raise GofundoConfigError("shards must be a whole number, at least 1.")
    first = next(walk(client, recipe.endpoint, query_params=recipe.query_params, parallel=1))
    if first.next is not None and first.last_page is None:
        raise GofundoConfigError(
            f"{recipe.endpoint} does not say how many pages it has, so it cannot be pulled in page ranges; split it "
            "by windows, or pull it in one task."
        )
    last = first.last_page or 1
    count = min(count, last)
    ends = [last * number // count for number in range(count + 1)]
    run = run_name(datetime.now(timezone.utc))
    return [
        # What is added while they are pulled comes at the end.
        Shard(run=run, number=n, of=count, first_page=ends[n - 1] + 1, last_page=ends[n] if n < count else None)
        for n in range(1, count + 1)
    ]


def by_windows(windows: Sequence[Mapping[str, Any]]) -> list[Shard]:
    """Return a shard for each of the given query parameters, which must not overlap and together make the list."""
    return _each([{"query_params": dict(window)} for window in windows], "windows")


def by_endpoints(endpoints: Sequence[str]) -> list[Shard]:
    """Return a shard for each endpoint."""
    return _each([{"endpoint": endpoint} for endpoint in endpoints], "endpoints")


def _each(shares: list[dict[str, Any]], name: str) -> list[Shard]:
    if not shares:
        raise GofundoConfigError(f"{name} is empty; name at least one.")
    run = run_name(datetime.now(timezone.utc))
    return [Shard(run=run, number=n, of=len(shares), **share) for n, share in enumerate(shares, 1)]


def shard_of(value: Any) -> Shard:
    """Return what an XCom holds as a shard; GofundoConfigError when it is none."""
    try:
        return msgspec.convert(value, type=Shard)
    except msgspec.ValidationError as error:
        raise GofundoConfigError(f"shard is none that GofundoPlanShardsOperator has made: {error}") from None
