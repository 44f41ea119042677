"""Errand: requests with one purpose, which end together once nobody wants it any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

from tenacity import Retrying

from airflow_provider_gofundo.exceptions import GofundoStopped


class Errand:
    """
    What some requests are for. An errand may have parts, which are over when it is.

    `policy(sleep=)` makes their retry policy. `sleep` waits in place of the clock.
    """

    def __init__(self, policy: Callable[..., Retrying], sleep: Callable[[float], None] | None = None) -> None:
        self._over = Event()
        self._parts: set[Errand] = set()
        self._policy = policy
        self._sleep = sleep
        self.retry = policy(sleep=self.pause)

    @contextmanager
    def part(self) -> Iterator[Errand]:
        """A part of it, which is over at the end of this block at the latest."""
        part = Errand(self._policy, self._sleep)
        self._parts.add(part)
        if self._over.is_set():
            part.end()
        try:
            yield part
        finally:
            part.end()
            self._parts.discard(part)

    def end(self) -> None:
        """Let whoever waits for it wait no more: GofundoStopped for them. Takes no lock that a request holds."""
        self._over.set()
        for part in list(self._parts):
            part.end()

    def pause(self, seconds: float = 0) -> None:
        """Wait so many seconds; GofundoStopped once it is over."""
        if seconds:
            (self._over.wait if self._sleep is None else self._sleep)(seconds)
        if self._over.is_set():
            raise GofundoStopped("Stopped: nobody waits for this any more.")
