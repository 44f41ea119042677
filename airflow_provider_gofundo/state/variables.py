"""Variables: a place for one text that all workers share, on every Airflow."""

from __future__ import annotations

import secrets
import sys
from contextlib import suppress
from typing import Any


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


class CertainCell(VariableCell):
    """
    A Variable that is empty only where it surely is.

    Airflow writes a lookup that failed to the log, and answers as if there were no such Variable. So before this
    believes that there is none, it writes another one and reads it; OSError where that cannot be read.
    """

    def read(self) -> str:
        """Return the Variable's value, empty when there is surely none."""
        return super().read() or self._certainly_empty()

    def _certainly_empty(self) -> str:
        key = f"{self._key}__{secrets.token_hex(4)}"
        probe = VariableCell(key)
        probe.write("probe")
        try:
            if probe.read() != "probe":
                raise OSError("a Variable that was just written cannot be read")
            # What failed a moment ago may work by now.
            return super().read()
        finally:
            with suppress(Exception):
                _variable().delete(key)


def in_task() -> bool:
    """Whether this is a task or a trigger, which reaches Airflow through its supervisor only."""
    return hasattr(sys.modules.get("airflow.sdk.execution_time.task_runner"), "SUPERVISOR_COMMS")


def _variable() -> Any:
    """Tasks and triggers reach Variables through the SDK; the API server, the CLI and Airflow 2 by the model."""
    if in_task():
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
