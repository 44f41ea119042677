"""GofundoToObjectStorageOperator: a list of a Gofundo server into files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_provider_gofundo.exceptions import GofundoConfigError
from airflow_provider_gofundo.operators.base import GofundoBaseOperator
from airflow_provider_gofundo.operators.links import GofundoManifestLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_gofundo.client.client import GofundoClient
    from airflow_provider_gofundo.dataset.drift import OnDrift
    from airflow_provider_gofundo.dataset.incremental import Incremental
    from airflow_provider_gofundo.dataset.manifest import Directory
    from airflow_provider_gofundo.dataset.part import Compression, FileFormat
    from airflow_provider_gofundo.dataset.privacy import UnknownFields
    from airflow_provider_gofundo.dataset.progress import Count
    from airflow_provider_gofundo.dataset.pull import Summary
    from airflow_provider_gofundo.dataset.recipe import Recipe
    from airflow_provider_gofundo.hooks.gofundo import GofundoHook
    from airflow_provider_gofundo.lineage import Lineage
    from airflow_provider_gofundo.state.watermarks import SharedWatermark


class GofundoToObjectStorageOperator(GofundoBaseOperator):
    """
    Pull a list into a directory: parts, and a manifest that names them and is written last.

    `endpoint` is the list, a path below the connection's Host; `query_params` filter it, and go with every page.
    `path` is any ObjectStoragePath, such as `s3://aws_default@lake/gofundo/donations`; `storage_conn_id` is the
    storage's connection, where the path does not name it. What the directory held before stays readable until the
    pull is complete.

    How the files look: `file_format` is "ndjson", one record a line as the server wrote it, or "parquet", with
    `schema` naming the types of columns; `compression` is "gzip", "none", and for Parquet "zstd" or "snappy"; a file
    holds `records_per_part` records.

    Of the records, `exclude_fields` are left out and `pseudonymize_fields` are replaced by pseudonyms; both are
    paths such as `donor.email`. With `unknown_fields="ignore"` a path that no record has is no error.

    How the list is walked: `parallel` requests are under way at the same time, 4 unless told otherwise, and 1 asks
    for one page after the other. `record_key` is the field that tells records apart, None where there is none; those
    that come twice are written once. Where the list changes meanwhile, `on_drift` says what to do: "repull" walks it
    again until nothing is missing, "warn" keeps what came, "fail" fails.

    `incremental=Incremental(param=…, field=…)` asks only for what has changed since the last pull. The watermark is
    kept with the asset among the task's `outlets` (Airflow 3.3 and newer), else in an Airflow Variable. Give every
    run a path of its own then, such as `s3://lake/donations/{{ ts_nodash }}`.

    `shard` is one of those that GofundoPlanShardsOperator returns, for a list that mapped tasks pull together; then
    GofundoPublishShardsOperator writes the manifest.

    On Airflow 3.3 and newer a retry goes on after the last finished part; elsewhere it starts over.

    The XCom is a summary: path, records, pages, parts, bytes, requests, retries, seconds and more; never records. The
    events of assets among the task's `outlets` hold the most of it, and OpenLineage is told, where it is installed.
    """

    template_fields: Sequence[str] = (
        "endpoint",
        "path",
        "query_params",
        "exclude_fields",
        "pseudonymize_fields",
        "shard",
        "storage_conn_id",
        "gofundo_conn_id",
    )
    template_fields_renderers = {"query_params": "json"}  # noqa: RUF012  # Airflow's shape
    operator_extra_links = (GofundoManifestLink(), *GofundoBaseOperator.operator_extra_links)

    # What the last `execute` has pulled.
    pulled: Lineage | None = None

    def __init__(
        self,
        *,
        endpoint: str,
        path: str,
        query_params: Mapping[str, Any] | None = None,
        file_format: FileFormat = "ndjson",
        schema: Mapping[str, str] | None = None,
        compression: Compression = "gzip",
        records_per_part: int = 100_000,
        parallel: int | None = None,
        record_key: str | None = "id",
        incremental: Incremental | None = None,
        exclude_fields: Sequence[str] = (),
        pseudonymize_fields: Sequence[str] = (),
        unknown_fields: UnknownFields = "error",
        on_drift: OnDrift = "repull",
        shard: Mapping[str, Any] | None = None,
        storage_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.path = path
        self.query_params = query_params
        self.file_format = file_format
        self.schema = schema
        self.compression = compression
        self.records_per_part = records_per_part
        self.parallel = parallel
        self.record_key = record_key
        self.incremental = incremental
        self.exclude_fields = exclude_fields
        self.pseudonymize_fields = pseudonymize_fields
        self.unknown_fields = unknown_fields
        self.on_drift = on_drift
        self.shard = shard
        self.storage_conn_id = storage_conn_id

    def work(self, hook: GofundoHook, context: Context) -> dict[str, Any]:
        """Pull the list and return the summary."""
        from airflow_provider_gofundo.dataset.pull import pull
        from airflow_provider_gofundo.dataset.shard import shard_of
        from airflow_provider_gofundo.dataset.shards import pull_shard
        from airflow_provider_gofundo.state.checkpoints import task_checkpoints

        self.pulled = None
        recipe = self._recipe()
        recipe.check()
        path = self._directory()
        checkpoints = task_checkpoints(context)
        with hook.client as client:
            if self.shard is not None:
                shard = shard_of(self.shard)
                share = pull_shard(client, recipe, path, shard, checkpoints=checkpoints, count=self._count())
                return {"shard": shard.number, "of": shard.of, "records": share.records, "pages": share.pages}
            watermarks = self._watermarks(client, context)
            summary = pull(client, recipe, path, checkpoints=checkpoints, watermarks=watermarks, count=self._count())
        return self._tell(context, summary, client.settings.base_url, (self.endpoint,))

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage[Any, Any] | None:
        """Return what was read and written, None where nothing was."""
        return self.pulled.facets() if self.pulled else None

    def _tell(self, context: Context, summary: Summary, base_url: str, endpoints: tuple[str, ...]) -> dict[str, Any]:
        """Tell assets and OpenLineage of a pull, and return the XCom."""
        from airflow_provider_gofundo.assets import tell_outlets
        from airflow_provider_gofundo.lineage import Lineage

        tell_outlets(context, self, summary)
        self.pulled = Lineage(
            base_url=base_url, endpoints=endpoints, path=summary.path, records=summary.records, bytes=summary.bytes
        )
        return asdict(summary)

    def _count(self) -> Count:
        from airflow_provider_gofundo.state.stats import count_in_stats

        return count_in_stats({"endpoint": self.endpoint, "conn_id": self.gofundo_conn_id})

    def _recipe(self) -> Recipe:
        from airflow_provider_gofundo.dataset.recipe import Recipe
        from airflow_provider_gofundo.pages.walk import PARALLEL

        return Recipe(
            endpoint=self.endpoint,
            query_params=self.query_params,
            parallel=PARALLEL if self.parallel is None else self.parallel,
            file_format=self.file_format,
            compression=self.compression,
            schema=self.schema,
            records_per_part=self.records_per_part,
            record_key=self.record_key,
            exclude_fields=self.exclude_fields,
            pseudonymize_fields=self.pseudonymize_fields,
            unknown_fields=self.unknown_fields,
            incremental=self.incremental,
            on_drift=self.on_drift,
        )

    def _watermarks(self, client: GofundoClient, context: Context) -> SharedWatermark | None:
        if self.incremental is None:
            return None
        from airflow_provider_gofundo.state.watermarks import list_name, watermarks_of

        name = list_name(client.settings, self.endpoint, self.query_params, self.incremental)
        return watermarks_of(context, self, name)

    def _directory(self) -> Directory:
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        if not str(self.path).strip():
            raise GofundoConfigError("path is empty; write a directory such as s3://lake/donations.")
        if "://" not in str(self.path) and not str(self.path).startswith("/"):
            raise GofundoConfigError(
                f"path {self.path} has no scheme; write it like s3://lake/donations or file:///lake."
            )
        try:
            return ObjectStoragePath(self.path, conn_id=self.storage_conn_id)
        except ValueError as error:
            text = f"path {self.path} cannot be reached, its provider may not be installed: {error}"
        raise GofundoConfigError(text)
