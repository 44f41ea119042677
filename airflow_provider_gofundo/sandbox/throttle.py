"""Laravel's request throttle: a fixed window that opens with the first request."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from .settings import Settings


@dataclass(frozen=True)
class Verdict:
    """Whether a request may pass, and what its answer tells about the limit."""

    allowed: bool
    headers: tuple[tuple[str, str], ...] = ()


class Throttle:
    """Counts requests by route group and address."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}

    def check(self, group: str, address: str, limit: int | None) -> Verdict:
        """Count this request and judge it; without a limit everything passes and nothing is told."""
        if limit is None:
            return Verdict(True)
        now = time.monotonic()
        ends, hits = self._windows.get((group, address), (0.0, 0))
        if now >= ends:
            ends, hits = now + self._settings.throttle_window, 0
        if hits >= limit:
            wait = max(1, math.ceil(ends - now))
            return Verdict(
                False,
                (
                    ("X-RateLimit-Limit", str(limit)),
                    ("X-RateLimit-Remaining", "0"),
                    ("Retry-After", str(wait)),
                    ("X-RateLimit-Reset", str(int(time.time()) + wait)),
                ),
            )
        self._windows[group, address] = (ends, hits + 1)
        return Verdict(True, (("X-RateLimit-Limit", str(limit)), ("X-RateLimit-Remaining", str(limit - hits - 1))))

    def clear(self) -> None:
        """Forget every window."""
        self._windows.clear()
