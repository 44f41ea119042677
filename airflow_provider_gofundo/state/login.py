"""Login: one for all workers, in an encrypted Airflow Variable."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from airflow_provider_gofundo.oauth.lease import Cell, Lease
from airflow_provider_gofundo.oauth.record import fingerprint
from airflow_provider_gofundo.oauth.store import SharedTokenStore
from airflow_provider_gofundo.settings import Settings
from airflow_provider_gofundo.state.variables import VariableCell, in_task

log = logging.getLogger(__name__)

# With "token" in its name Airflow masks the value wherever it shows it.
PREFIX = "gofundo_token__"
TURN = "gofundo_turn__"

_renewer: ContextVar[str] = ContextVar("gofundo_renewer", default="")


def shared_login(settings: Settings) -> tuple[SharedTokenStore, Lease]:
    """Return the store that all workers share for this connection, and whose turn it is to ask for a new token."""
    token: Cell = VariableCell(PREFIX + settings.conn_id)
    turn: Cell = VariableCell(f"{TURN}{settings.conn_id}")
    if settings.grant_type in ("client_credentials", "password"):
        # These can log in anew; a chain lives in its Variable, and without it is better told so than begun again.
        token, turn = OrMemory(token), OrMemory(turn)
    # A turn lasts one or two requests; a worker that dies in its turn holds the others up for this long.
    return SharedTokenStore(token, fingerprint(settings), who=renewer), Lease(turn, life=2 * settings.timeout + 30)


@contextmanager
def renewing_as(who: str) -> Iterator[None]:
    """Whoever gets a token in here is this one, such as `user admin on the Authorize page`."""
    before = _renewer.set(who)
    try:
        yield
    finally:
        _renewer.reset(before)


def renewer() -> str:
    """Return who would get a token from the server here, in words; a running task where there is one."""
    if _renewer.get():
        return _renewer.get()
    try:
        from airflow.providers.common.compat.sdk import get_current_context

        task: Any = get_current_context()["ti"]
    except Exception:  # noqa: BLE001  # not in a task; what comes then depends on Airflow's version
        return "a trigger" if in_task() else "the command line"
    return f"dag {task.dag_id}, run {task.run_id}, task {task.task_id}"


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
