"""Lease: one of many workers at a time, where all they share is a place to read and write."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from airflow_provider_gofundo.exceptions import GofundoStorageError
from airflow_provider_gofundo.oauth.token import now

log = logging.getLogger(__name__)

# Seconds to wait at least between writing one's own name and reading which name stands there.
SETTLE = 1.0

# Seconds by which the clocks of two workers may differ.
SKEW = 60


class Cell(Protocol):
    """A shared place for one text; no more than these two, and no way to do both at once."""

    def read(self) -> str:
        """Return the text, empty when there is none."""

    def write(self, text: str) -> None:
        """Put the text in the place of the one before."""


class Turn(Protocol):
    """Who may ask the server for a token; a `Lease` where workers share one. `life` is how long a turn may last."""

    @property
    def life(self) -> float:
        """Seconds."""

    def acquire(self) -> bool:
        """Try to make it ours."""

    def release(self) -> None:
        """Give it to others."""


class Alone:
    """Nobody to share with: it is always our turn."""

    life = 0.0

    def acquire(self) -> bool:
        """Have it."""
        return True

    def release(self) -> None:
        """Nobody waits."""


class Lease:
    """
    Mutual exclusion after Fischer (Lamport, "A fast mutual exclusion algorithm", 1987), with an end.

    Whoever finds the cell free writes its own name, waits longer than anybody's write takes, and reads again: only
    the last one to write finds its own name. Should a write take longer than the wait after all, two may hold it.
    A holder that dies loses it after `life`, in seconds; workers' clocks may differ by less than that.
    """

    def __init__(
        self,
        cell: Cell,
        *,
        life: float,
        clock: Callable[[], datetime] = now,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cell = cell
        self.life = life
        self._clock = clock
        self._sleep = sleep
        self._name = secrets.token_hex(8)

    def acquire(self) -> bool:
        """Try to become the holder; says whether it did. Takes a second or more. GofundoStorageError."""
        try:
            return self._acquire()
        except Exception as error:  # noqa: BLE001  # what comes depends on the cell
            reason = type(error).__name__
        raise GofundoStorageError(f"Whose turn it is could not be read from Airflow's stores ({reason}).")

    def _acquire(self) -> bool:
        if self._holder() not in (None, self._name):
            return False
        began = time.monotonic()
        self._cell.write(f"{self._name} {(self._clock() + timedelta(seconds=self.life)).isoformat()}")
        # How long our own write took tells how long another's may take.
        self._sleep(max(SETTLE, 3 * (time.monotonic() - began)))
        # Where not even our own name stands, nobody can hold it: the cell is not one that can be written.
        return self._holder() in (self._name, None)

    def release(self) -> None:
        """Give it back, if it is still ours. Where that fails it ends by itself."""
        try:
            if self._holder() == self._name:
                self._cell.write("")
        except Exception as error:  # noqa: BLE001  # as above
            log.warning(
                "A turn could not be given back (%s); it ends within %.0f s.", type(error).__name__, self.life
            )

    def _holder(self) -> str | None:
        """Whose name stands there, unless its time is over, or lies further ahead than any turn lasts."""
        name, _, until = self._cell.read().partition(" ")
        try:
            left = datetime.fromisoformat(until) - self._clock()
        except (TypeError, ValueError):
            return None
        return name if timedelta() < left <= timedelta(seconds=self.life + SKEW) else None
