"""Checkpoints: in the store that Airflow keeps for a task from one try to the next, from 3.3 on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow_provider_gofundo.dataset.checkpoint import LIFE, Checkpoints

log = logging.getLogger(__name__)

KEY = "gofundo_checkpoint"


def task_checkpoints(context: Mapping[str, Any]) -> Checkpoints | None:
    """Return the place for the checkpoints of the task that runs, None where Airflow has none."""
    store = context.get("task_state_store")
    if store is None:
        log.info("This Airflow keeps no task state, which 3.3 and newer do: a retry starts over.")
        return None
    return TaskCheckpoints(store)


class TaskCheckpoints:
    """
    Checkpoints in a task state store.

    A store that fails never fails the pull. This says so once and asks it no more, but for `clear`: a retry may then
    do again what was done.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self._failed = False

    def read(self) -> str | None:
        """Return the checkpoint, empty when there is none, None where the store fails."""
        if self._failed:
            return None
        try:
            return str(self._store.get(KEY) or "")
        except Exception as error:  # noqa: BLE001  # what comes depends on Airflow's version and state backend
            self._warn(error)
        return None

    def write(self, text: str) -> None:
        """Keep a checkpoint in place of the one before."""
        if self._failed:
            return
        try:
            # Airflow removes it by itself once it is of no use.
            self._store.set(KEY, text, retention=LIFE)
        except Exception as error:  # noqa: BLE001  # as above
            self._warn(error)

    def clear(self) -> None:
        """Take it away. Airflow keeps it past the task's success, and past a Clear."""
        try:
            self._store.delete(KEY)
        except Exception:  # noqa: BLE001  # as above
            try:
                self._store.set(KEY, "", retention=LIFE)
            except Exception as error:  # noqa: BLE001  # as above
                log.warning(
                    "The task state store fails (%s), so the checkpoint of this pull is still there. Do not clear "
                    "this task within a day: it would go on from there and leave older parts as they are.",
                    type(error).__name__,
                )

    def _warn(self, error: Exception) -> None:
        if not self._failed:
            log.warning("The task state store fails (%s): a retry would start over.", type(error).__name__)
        self._failed = True
