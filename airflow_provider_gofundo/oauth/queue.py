"""Queue: where workers wait for their turn, until another's has brought what they want."""

from __future__ import annotations

import random
from collections.abc import Callable
from threading import Event
from typing import TypeVar

from airflow_provider_gofundo.exceptions import GofundoStopped
from airflow_provider_gofundo.oauth.lease import Turn

T = TypeVar("T")

# About how many seconds apart to look for what the worker whose turn it is brings, and for how long after its turn
# must have ended.
PAUSE, GRACE = 1.0, 30.0


class Queue:
    """Waits for a turn. `sleep` waits in place of the clock."""

    def __init__(self, turn: Turn, *, sleep: Callable[[float], None] | None = None) -> None:
        self._turn = turn
        self._stopped = Event()
        self._sleep = sleep

    def wait(self, look: Callable[[], T | None], *, patience: float | None = None) -> T | None:
        """
        Return what `look` finds, should it find something; None when it is our turn, or nobody's.

        That is after `patience` seconds, or once every turn of another must have ended. GofundoStopped when stopped.
        """
        waited = 0.0
        while waited <= (self._turn.life + GRACE if patience is None else patience):
            found = look()
            if found is not None:
                return found
            if self._turn.acquire():
                return None
            seconds = PAUSE * random.uniform(0.5, 1.5)  # noqa: S311  # so that they do not all look at once
            self.pause(seconds)
            if self._stopped.is_set():
                raise GofundoStopped("Stopped: nobody waits for this login any more.")
            waited += seconds
        return None

    def leave(self) -> None:
        """Give the turn to others."""
        self._turn.release()

    def pause(self, seconds: float) -> None:
        """Wait so long, or until stopped."""
        (self._stopped.wait if self._sleep is None else self._sleep)(seconds)

    def stop(self) -> None:
        """End the waits. There is no way back."""
        self._stopped.set()
