"""Schedule: when to look next."""

from __future__ import annotations

import math


def next_look(*, now: float, began: float, interval: float, wait: float = 0.0) -> float:
    """The first moment after `now`, and at least `wait` seconds after it, that is whole intervals after `began`."""
    passed = max(now + wait, began) - began
    at = began + math.ceil(passed / interval) * interval
    return at if at > now else at + interval
