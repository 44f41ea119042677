"""OpenLineage: which list a pull has read, and what it has written. Nothing of it is imported before it asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_gofundo.assets import list_name

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

# Names of the same storage.
ALSO = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfss": "abfs", "": "file"}


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """What a pull has read and written: lists of one server into one directory, with counts of what landed."""

    base_url: str
    endpoints: tuple[str, ...]
    path: str
    records: int
    bytes: int

    def facets(self) -> OperatorLineage[Any, Any]:
        """Return it as OpenLineage's provider takes it from an operator."""
        from airflow.providers.common.compat.openlineage.facet import (
            Dataset,
            OutputDataset,
            OutputStatisticsOutputDatasetFacet,
        )
        from airflow.providers.openlineage.extractors import OperatorLineage

        inputs = [list_name(self.base_url, endpoint) for endpoint in self.endpoints]
        namespace, name = directory_name(self.path)
        landed = OutputStatisticsOutputDatasetFacet(rowCount=self.records, size=self.bytes)
        return OperatorLineage(
            inputs=[Dataset(namespace=of, name=called) for of, called in inputs],
            outputs=[OutputDataset(namespace=namespace, name=name, outputFacets={"outputStatistics": landed})],
        )


def directory_name(path: str) -> tuple[str, str]:
    """
    Return OpenLineage's namespace and name of a directory: `s3://lake` and `gofundo/donations`, `file` and `/lake`.

    The storage's connection, which Airflow writes before the bucket, is not part of it.
    """
    url = urlsplit(path)
    scheme = ALSO.get(url.scheme, url.scheme)
    bucket = url.netloc.rpartition("@")[2]
    if scheme == "file":
        return "file", url.path.rstrip("/") or "/"
    return f"{scheme}://{bucket}", url.path.strip("/") or "/"
