"""Assets: `gofundo://` URIs, which name a list of a server, and what a pull tells those who wait for one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset as OpenLineageDataset
    from airflow.providers.common.compat.sdk import Asset, BaseOperator

    from airflow_provider_gofundo.dataset.pull import Summary

SCHEME = "gofundo"
EXAMPLE = "gofundo://gofundo.nl/api/donations"

# What of a summary goes with an event. Events are kept in Airflow's database and shown by its REST API.
TOLD = ("endpoint", "records", "watermark", "manifest", "bytes", "complete")


def create_asset(*, host: str, endpoint: str, extra: dict[str, Any] | None = None) -> Asset:
    """
    Return the asset of a list, such as `create_asset(host="gofundo.nl", endpoint="api/donations")`.

    `host` is the connection's Host, with its port where it has one. Nothing is looked up, so a DAG file may say it.
    """
    from airflow.providers.common.compat.sdk import Asset

    uri = sanitize_uri(urlsplit(f"{SCHEME}://{host.rpartition('://')[2].strip('/')}/{endpoint.strip('/')}"))
    return Asset(uri=uri.geturl(), extra=extra)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """
    Return the one way to write a `gofundo://` URI: that two texts for the same list are the same asset.

    The host is in lower case, without the port of https; the path has no empty steps; parameters are sorted. A user
    or password is refused: a URI is shown to everybody. ValueError otherwise, too.
    """
    if "@" in uri.netloc:
        raise ValueError(f"A gofundo:// URI holds no user and no password; write it like {EXAMPLE}.")
    try:
        host, port = uri.hostname, uri.port
    except ValueError:
        raise ValueError(f"The port of a gofundo:// URI is no port; write it like {EXAMPLE}.") from None
    path = re.sub("/+", "/", uri.path).rstrip("/")
    if not host or not path:
        raise ValueError(f"A gofundo:// URI names a host and a list; write it like {EXAMPLE}.")
    return SplitResult(
        scheme=SCHEME,
        netloc=_netloc(host, port),
        path=path,
        query=urlencode(sorted(parse_qsl(uri.query))),  # Airflow drops blank ones as well
        fragment="",
    )


def convert_asset_to_openlineage(asset: Asset, _: object) -> OpenLineageDataset:
    """Return what OpenLineage calls such an asset, which is also what a pull of that list says it has read."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    uri = sanitize_uri(urlsplit(asset.uri))
    return Dataset(namespace=f"{SCHEME}://{uri.netloc}", name=uri.path.lstrip("/"))


def list_name(base_url: str, endpoint: str) -> tuple[str, str]:
    """Return OpenLineage's namespace and name of the list at an endpoint of a server."""
    url = urlsplit(base_url)
    port = None if url.scheme == "https" and url.port == 443 else url.port or (80 if url.scheme == "http" else None)
    steps = [*url.path.split("/"), *endpoint.split("/")]
    return f"{SCHEME}://{_netloc(url.hostname or '', port)}", "/".join(filter(None, steps))


def tell_outlets(context: Mapping[str, Any], task: BaseOperator, summary: Summary) -> None:
    """Add to the events of a task's assets what was pulled. Whoever runs on them finds it in `extra`."""
    from airflow.providers.common.compat.sdk import Asset

    events = context.get("outlet_events")
    if events is None:  # no task run
        return
    told = {name: getattr(summary, name) for name in TOLD}
    for outlet in task.outlets or ():
        if isinstance(outlet, Asset):
            events[outlet].extra.update(told)


def _netloc(host: str, port: int | None) -> str:
    shown = f"[{host}]" if ":" in host else host.lower()
    return shown if port in (None, 443) else f"{shown}:{port}"
