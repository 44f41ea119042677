"""Errand: requests with one purpose, which end together once nobody wants it any more."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from tenacity import Retrying

from airflow_provider_gofundo.exceptions import GofundoStopped


class Errand:
    """
    What some requests are for.

    `policy(sleep=)` makes their retry policy. `sleep` waits in place of the clock.
    """

    def __init__(self, policy: Callable[..., Retrying], sleep: Callable[[float], None] | None = None) -> None:
        self._over = Event()
        self._sleep = self._over.wait if sleep is None else sleep
        self.retry = policy(sleep=self.pause)

    @property
    def is_over(self) -> bool:
        """Whether nobody wants it any more."""
        return self._over.is_set()

    def end(self) -> None:
        """Let whoever waits for it wait no more; GofundoStopped for them."""
        self._over.set()

    def pause(self, seconds: float = 0) -> None:
        """Wait so many seconds; GofundoStopped once it is over."""
        if seconds:
            self._sleep(seconds)
        if self.is_over:
            raise GofundoStopped("Stopped: nobody waits for this any more.")
