"""The sandbox's clock, which a test can move forward."""

from __future__ import annotations

import time

from .settings import Settings


class Clock:
    """Wall-clock seconds, ahead of the machine's by the setting `clock_offset`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self._settings.clock_offset

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._settings.clock_offset += seconds
