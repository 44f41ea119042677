"""GofundoOperator: one call to a Gofundo server. GofundoRefreshTokenOperator: keeps a login alive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoAuthError,
    GofundoConfigError,
    GofundoConnectionError,
    GofundoError,
    GofundoStorageError,
)
from airflow_provider_gofundo.operators.base import GofundoBaseOperator

if TYPE_CHECKING:
    import requests
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_gofundo.hooks.gofundo import GofundoHook


LOOK_FIRST = "A retry might do it twice, so there is none: look in Gofundo before you clear this task."


class GofundoOperator(GofundoBaseOperator):
    """
    Send one request.

    Its XCom is what `response_filter(response)` returns. Without a filter that is `{"status": …, "bytes": …}`: an
    answer may hold personal data, and XComs are kept in Airflow's database, so what of it goes there is yours to
    choose, for instance `lambda response: response.json()["data"]["id"]`.

    `endpoint` is a path below the connection's Host. GET, HEAD, OPTIONS, PUT and DELETE are repeated after a
    failure; other methods only where the server surely did nothing. Where it may have done it, the task fails without
    the retries it has left, also when it is the filter that failed.
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

    def __init__(
        self,
        *,
        endpoint: str,
        method: str = "GET",
        query_params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        response_filter: Callable[[requests.Response], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.method = method
        self.query_params = query_params
        self.json = json
        self.headers = headers
        self.response_filter = response_filter

    def work(self, hook: GofundoHook, context: Context) -> Any:
        """Send the request and return what the filter makes of the answer."""
        from airflow_provider_gofundo.client.client import IDEMPOTENT

        repeatable = self.method.upper() in IDEMPOTENT
        with hook.client as client:
            try:
                response = client.request(
                    self.method,
                    self.endpoint,
                    query_params=self.query_params,
                    json=self.json,
                    headers=self.headers,
                )
            except GofundoError as error:
                if repeatable or _surely_nothing(error):
                    raise
                raise AirflowFailException(f"{error} {LOOK_FIRST}") from error
        self.log.info(
            "%s %s answered %d, %d bytes",
            self.method,
            self.endpoint,
            response.status_code,
            len(response.content),
        )
        if not self.response_filter:
            return {"status": response.status_code, "bytes": len(response.content)}
        try:
            return self.response_filter(response)
        except Exception as error:
            if repeatable:
                raise
            done = f"{self.method} {self.endpoint} is done, but response_filter failed ({type(error).__name__})."
            raise AirflowFailException(f"{done} {LOOK_FIRST}") from error


def _surely_nothing(error: GofundoError) -> bool:
    """Whether the server surely did nothing of what it was asked."""
    if isinstance(error, GofundoConnectionError):
        return not error.answer_lost
    if isinstance(error, GofundoApiError):
        return error.status is not None and error.status < 500
    return isinstance(error, (GofundoConfigError, GofundoAuthError, GofundoStorageError))


class GofundoRefreshTokenOperator(GofundoBaseOperator):
    """
    Exchange the connection's refresh token for a new pair, so that the login never dies.

    A refresh token of Gofundo lives one hour, and an access token two weeks. A connection that cannot log in by
    itself (authorization_code, refresh_token) therefore needs this more often than hourly, or somebody to log in
    every two weeks. For other grants it does nothing: they log in when they have to.

    The XCom is when the new access token and the new refresh token end; never the tokens.
    """

    template_fields: Sequence[str] = ("gofundo_conn_id",)

    def work(self, hook: GofundoHook, context: Context) -> dict[str, str | None]:
        """Refresh, and return until when."""
        with hook.client as client:
            if client.settings.grant_type in ("client_credentials", "password"):
                self.log.info("A %s connection logs in by itself; nothing to keep alive.", client.settings.grant_type)
                return {"expires_at": None, "refresh_expires_at": None}
            token = client.refresh_login()
        return {
            "expires_at": token.expires_at.isoformat() if token.expires_at else None,
            "refresh_expires_at": token.refresh_expires_at.isoformat() if token.refresh_expires_at else None,
        }
