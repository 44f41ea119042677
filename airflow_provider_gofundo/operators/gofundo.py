"""GofundoOperator: one call to a Gofundo server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_gofundo.hooks.gofundo import GofundoHook

if TYPE_CHECKING:
    import requests
    from airflow.providers.common.compat.sdk import Context


class GofundoOperator(BaseOperator):
    """
    Send one request.

    Its XCom is what `response_filter(response)` returns. Without a filter that is `{"status": …, "bytes": …}`: an
    answer may hold personal data, and XComs are kept in Airflow's database, so what of it goes there is yours to
    choose, for instance `lambda response: response.json()["data"]["id"]`.

    `endpoint` is a path below the connection's Host. GET, HEAD, OPTIONS, PUT and DELETE are repeated after a
    failure; other methods only where the server surely did nothing.
    """

    template_fields: Sequence[str] = (
        "endpoint",
        "method",
        "query_params",
        "json",
        "headers",
        "gofundo_conn_id",
    )
    template_fields_renderers = {"query_params": "json", "json": "json", "headers": "json"}  # noqa: RUF012  # Airflow's shape
    ui_color = "#dcefe6"

    def __init__(
        self,
        *,
        endpoint: str,
        method: str = "GET",
        query_params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        response_filter: Callable[[requests.Response], Any] | None = None,
        gofundo_conn_id: str = GofundoHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.method = method
        self.query_params = query_params
        self.json = json
        self.headers = headers
        self.response_filter = response_filter
        self.gofundo_conn_id = gofundo_conn_id

    def execute(self, context: Context) -> Any:
        """Send the request and return what the filter makes of the answer."""
        with GofundoHook(self.gofundo_conn_id).client as client:
            response = client.request(
                self.method,
                self.endpoint,
                query_params=self.query_params,
                json=self.json,
                headers=self.headers,
            )
        self.log.info(
            "%s %s answered %d, %d bytes",
            self.method,
            self.endpoint,
            response.status_code,
            len(response.content),
        )
        if self.response_filter:
            return self.response_filter(response)
        return {"status": response.status_code, "bytes": len(response.content)}
