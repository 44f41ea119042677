"""Operators around a list that mapped tasks pull together: one plans the shards, one publishes what they pulled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_gofundo.exceptions import GofundoConfigError
from airflow_provider_gofundo.operators.base import GofundoBaseOperator
from airflow_provider_gofundo.transfers.gofundo_to_object_storage import GofundoToObjectStorageOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg

    from airflow_provider_gofundo.hooks.gofundo import GofundoHook


class GofundoPlanShardsOperator(GofundoBaseOperator):
    """
    Plan how mapped tasks pull a list together. The XCom is a list with one item for each of them.

    `shards` page ranges of about the same length, which takes one request for page 1 and a list that tells its last
    page; or one shard for each of `windows`, which are query parameters that must not overlap and together make the
    list; or one for each of `endpoints`, whose lists together make the dataset. `endpoint` and `query_params` are
    those of the pull.
    """

    template_fields: Sequence[str] = ("endpoint", "query_params", "windows", "endpoints", "gofundo_conn_id")
    template_fields_renderers = {"query_params": "json", "windows": "json"}  # noqa: RUF012  # Airflow's shape

    def __init__(
        self,
        *,
        endpoint: str = "",
        query_params: Mapping[str, Any] | None = None,
        shards: int | None = None,
        windows: Sequence[Mapping[str, Any]] | None = None,
        endpoints: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.query_params = query_params
        self.shards = shards
        self.windows = windows
        self.endpoints = endpoints

    def work(self, hook: GofundoHook, context: Context) -> list[dict[str, Any]]:
        """Return the plan."""
        from airflow_provider_gofundo.dataset.recipe import Recipe
        from airflow_provider_gofundo.dataset.shard import by_endpoints, by_pages, by_windows

        if [self.shards, self.windows, self.endpoints].count(None) != 2:
            raise GofundoConfigError("Give one of shards, windows and endpoints, to say what to split the list by.")
        if self.windows is not None:
            planned = by_windows(self.windows)
        elif self.endpoints is not None:
            planned = by_endpoints(self.endpoints)
        else:
            with hook.client as client:
                recipe = Recipe(endpoint=self.endpoint, query_params=self.query_params)
                planned = by_pages(client, recipe, self.shards or 0)
        self.log.info("%d shards", len(planned))
        return [shard.as_xcom() for shard in planned]


class GofundoPublishShardsOperator(GofundoToObjectStorageOperator):
    """
    Make what mapped tasks have pulled one dataset: write the manifest, once all shards are there.

    `shards` is the plan, the XCom of GofundoPlanShardsOperator; all other arguments are those of the pulls. Should
    the list have changed while page ranges of it were pulled, `on_drift` says what to do: "repull" pulls the whole
    list again, in this task.

    The XCom is a summary, as that of a pull in one task.
    """

    template_fields: Sequence[str] = (*GofundoToObjectStorageOperator.template_fields, "shards")

    def __init__(self, *, shards: Sequence[Mapping[str, Any]] | XComArg, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shards = shards

    def work(self, hook: GofundoHook, context: Context) -> dict[str, Any]:
        """Publish the shards and return the summary."""
        from airflow_provider_gofundo.dataset.shard import shard_of
        from airflow_provider_gofundo.dataset.shards import publish

        self.pulled = None
        planned: Any = self.shards  # rendered by now
        shards = [shard_of(shard) for shard in planned]
        endpoints = dict.fromkeys(shard.endpoint or self.endpoint for shard in shards)
        with hook.client as client:
            summary = publish(client, self._recipe(), self._directory(), shards, count=self._count())
        return self._tell(context, summary, client.settings.base_url, tuple(endpoints))
