"""The Airflow plugin: a page in the API server, and a link to it. Every Airflow process imports this."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

URL_PREFIX = "/gofundo"


@cache
def _app() -> Any:
    from airflow_provider_gofundo.ui.app import build

    return build()


class Pages:
    """The pages, as an ASGI app that is imported with its first request; only the API server ever gets one."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        app = await asyncio.to_thread(_app)
        await app(scope, receive, send)


def _link() -> str:
    """Return the path of the list of connections, below the path of Airflow itself."""
    return urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/") + f"{URL_PREFIX}/connections"


class GofundoPlugin(AirflowPlugin):
    """The pages under /gofundo, and a link in the Admin menu. Airflow before 3.1 has no place for them."""

    name = "gofundo"
    if hasattr(AirflowPlugin, "external_views"):
        fastapi_apps = [{"app": Pages(), "url_prefix": URL_PREFIX, "name": "Gofundo"}]
        # Without a url_route it opens in a tab of its own: from a frame nobody gets to Gofundo's login.
        external_views = [{"name": "Gofundo connections", "href": _link(), "destination": "nav", "category": "admin"}]
