"""State: what Airflow keeps for us. So far one login for all workers, in an encrypted Airflow Variable."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from airflow_provider_gofundo.oauth.lease import Cell, Lease
from airflow_provider_gofundo.oauth.record import fingerprint
from airflow_provider_gofundo.oauth.store import SharedTokenStore
from airflow_provider_gofundo.settings import Settings

log = logging.getLogger(__name__)

# With "token" in its name Airflow masks the value wherever it shows it.
PREFIX = "gofundo_token__"


def shared_login(settings: Settings) -> tuple[SharedTokenStore, Lease]:
    """Return the store that all workers share for this connection, and whose turn it is to ask for a new token."""
    token: Cell = VariableCell(PREFIX + settings.conn_id)
    turn: Cell = VariableCell(f"{PREFIX}{settings.conn_id}__turn")
    if settings.grant_type in ("client_credentials", "password"):
        # These can log in anew; a chain lives in its Variable, and without it is better told so than begun again.
        token, turn = OrMemory(token), OrMemory(turn)
    # A turn lasts one or two requests; a worker that dies in its turn holds the others up for this long.
    return SharedTokenStore(token, fingerprint(settings)), Lease(turn, life=2 * settings.timeout + 30)


class VariableCell:
    """An Airflow Variable as a place for one text. Airflow encrypts it with its Fernet key."""

    def __init__(self, key: str) -> None:
        self._key = key

    def read(self) -> str:
        """Return the Variable's value, empty when there is none; never one that Airflow has cached."""
        _forget_cached(self._key)
        # The default is named differently in the SDK and in the model, and comes second in both.
        return str(_variable().get(self._key, None) or "")

    def write(self, text: str) -> None:
        """Set the Variable."""
        _variable().set(self._key, text)


class OrMemory:
    """A cell, or a place in memory once the cell has failed; it says so, once."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._memory: str | None = None

    def read(self) -> str:
        """Read the cell."""
        if self._memory is None:
            try:
                return self._cell.read()
            except Exception as error:  # noqa: BLE001  # what comes depends on where this runs, and on its database
                _warn(type(error).__name__)
                self._memory = ""
        return self._memory

    def write(self, text: str) -> None:
        """Write the cell."""
        if self._memory is None:
            try:
                self._cell.write(text)
            except Exception as error:  # noqa: BLE001  # as above
                _warn(type(error).__name__)
            else:
                return
        self._memory = text


@cache
def _warn(reason: str) -> None:
    log.warning(
        "Airflow's Variables cannot be reached from here (%s), so this process has a login of its own.", reason
    )


def find_connection(conn_id: str, get: Callable[[str], Any]) -> Any:
    """
    Return a connection as `get` does, which is BaseHook's.

    In a plain Python on the machine of an API server or scheduler, Airflow 3 looks into the environment only; here
    also into its database.
    """
    try:
        return get(conn_id)
    except Exception as error:
        if _in_task() or type(error).__name__ != "AirflowNotFoundException":
            raise
    from airflow.models import Connection

    return Connection.get_connection_from_secrets(conn_id)


def _in_task() -> bool:
    """Whether this is a task or a trigger, which reaches Airflow through its supervisor only."""
    return hasattr(sys.modules.get("airflow.sdk.execution_time.task_runner"), "SUPERVISOR_COMMS")


def _variable() -> Any:
    """Tasks and triggers reach Variables through the SDK; the API server, the CLI and Airflow 2 by the model."""
    if _in_task():
        from airflow.sdk import Variable

        return Variable
    from airflow.models import Variable as Model

    return Model


def _forget_cached(key: str) -> None:
    try:
        from airflow.sdk import SecretCache
    except ImportError:  # Airflow 2
        from airflow.secrets.cache import SecretCache  # type: ignore[import-not-found, no-redef, unused-ignore]
    SecretCache.invalidate_variable(key)


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
