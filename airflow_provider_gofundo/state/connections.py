"""Connections: finding one wherever Python runs, and keeping its secrets out of the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_gofundo.state.variables import in_task


def find_connection(conn_id: str, get: Callable[[str], Any]) -> Any:
    """
    Return a connection as `get` does, which is BaseHook's.

    In a plain Python on the machine of an API server or scheduler, Airflow 3 looks into the environment only; here
    also into its database.
    """
    try:
        return get(conn_id)
    except Exception as error:
        if in_task() or type(error).__name__ != "AirflowNotFoundException":
            raise
    from airflow.models import Connection

    return Connection.get_connection_from_secrets(conn_id)


def mask(*secrets: str | None) -> None:
    """Let Airflow's logs show *** for them."""
    try:
        from airflow.sdk.log import mask_secret
    except ImportError:  # before Airflow 3.1
        try:
            from airflow.sdk.execution_time.secrets_masker import mask_secret  # type: ignore[no-redef, unused-ignore]
        except ImportError:  # before Airflow 3
            from airflow.utils.log.secrets_masker import mask_secret  # type: ignore[import-not-found, no-redef, unused-ignore]
    for secret in secrets:
        if secret:
            mask_secret(secret)
