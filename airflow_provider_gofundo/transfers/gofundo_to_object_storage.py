"""GofundoToObjectStorageOperator: a list of a Gofundo server into files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_provider_gofundo.exceptions import GofundoConfigError
from airflow_provider_gofundo.operators.base import GofundoBaseOperator

if TYPE_CHECKING:
    from airflow_provider_gofundo.dataset.manifest import Directory
    from airflow_provider_gofundo.dataset.part import Compression
    from airflow_provider_gofundo.hooks.gofundo import GofundoHook


class GofundoToObjectStorageOperator(GofundoBaseOperator):
    """
    Pull a whole list into a directory as newline-delimited JSON.

    `path` is any ObjectStoragePath, such as `s3://aws_default@lake/gofundo/donations`; `storage_conn_id` is the
    storage's connection, where the path does not name it. The directory holds parts of `records_per_part` records,
    gzipped unless `compression` is "none", and `_manifest.json`, which names them and is written last. What the
    directory held before stays readable until then. The records are as the server wrote them, one a line.

    The XCom is a summary: path, records, pages, parts, bytes, requests, retries, seconds; never records.
    """

    template_fields: Sequence[str] = (
        "endpoint",
        "path",
        "query_params",
        "storage_conn_id",
        "gofundo_conn_id",
    )
    template_fields_renderers = {"query_params": "json"}  # noqa: RUF012  # Airflow's shape

    def __init__(
        self,
        *,
        endpoint: str,
        path: str,
        query_params: Mapping[str, Any] | None = None,
        compression: Compression = "gzip",
        records_per_part: int = 100_000,
        storage_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.path = path
        self.query_params = query_params
        self.compression = compression
        self.records_per_part = records_per_part
        self.storage_conn_id = storage_conn_id

    def work(self, hook: GofundoHook) -> dict[str, Any]:
        """Pull the list and return the summary."""
        from airflow_provider_gofundo.dataset.pull import pull

        with hook.client as client:
            summary = pull(
                client,
                self.endpoint,
                self._directory(),
                query_params=self.query_params,
                records_per_part=self.records_per_part,
                compression=self.compression,
            )
        return asdict(summary)

    def _directory(self) -> Directory:
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        if not str(self.path).strip():
            raise GofundoConfigError("path is empty; write a directory such as s3://lake/donations.")
        try:
            return ObjectStoragePath(self.path, conn_id=self.storage_conn_id)
        except ValueError as error:
            text = f"path {self.path} cannot be reached, its provider may not be installed: {error}"
        raise GofundoConfigError(text)
