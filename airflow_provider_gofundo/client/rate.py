"""Rate: what the server's rate headers say, and the pace that follows from it for all requests of a process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from threading import Condition, Lock
from weakref import WeakValueDictionary

import requests

from airflow_provider_gofundo.answer import rate_reset, retry_after
from airflow_provider_gofundo.client.retry import BUDGET
from airflow_provider_gofundo.settings import Settings

# So many lanes there are at most; an answer that widens them adds its share of one.
WIDEST = 64.0

# The server tells whole seconds, so it may be one too early; and answers do not all take equally long.
MARGIN = 2.0


@dataclass(frozen=True)
class Told:
    """
    What an answer tells about the pace.

    `slow_down` says that it was a 429 or a 503, `wait` for how long (seconds). `remaining` is how many requests the
    server still allows in its present window, `reset` the seconds until its end; None where it does not tell.
    """

    slow_down: bool = False
    wait: float | None = None
    remaining: int | None = None
    reset: float | None = None

    @classmethod
    def by(cls, answer: requests.Response) -> Told:
        """Read an answer's status and headers."""
        at = datetime.now(timezone.utc)
        return cls(
            slow_down=answer.status_code in (429, 503),
            wait=retry_after(answer.headers, at=at),
            remaining=_number(answer.headers, "X-RateLimit-Remaining"),
            reset=rate_reset(answer.headers, at=at),
        )


class Gate:
    """
    Says when the next request may be sent. Waits for nobody and has no clock of its own: `now` is in seconds.

    Three things hold requests back: the ceiling of the connection, which spaces them evenly; what the server
    still allows in its present window (X-RateLimit-Remaining), or until when it wants none (Retry-After); and the
    number of lanes, which a 429 or 503 halves and every other answer widens again. Of what the server still allows
    no more than half is asked for at once, because others may be asking too.

    Laravel tells when its window ends only once it is used up. So the first 429 is the price of knowing the
    window's length; after that the end of each is known. The first request of a window goes alone, so that no more
    than one is refused where the end was not quite known.

    Answers overtake each other. So each has the ticket that its request was given, which is how many answers had
    come by then: an answer can only correct what was known when its request was sent.
    """

    def __init__(self, per_minute: float | None = None) -> None:
        self._interval = 60 / per_minute if per_minute else 0.0
        self._in_flight = 0
        self._answers = 0
        self._lanes = WIDEST
        self._narrowed = 0  # the ticket from which on a refusal narrows the lanes once more
        self._next = 0.0
        self._closed_until = 0.0
        self._window = 0  # the first ticket of the server's present window
        self._began: float | None = None
        self._ends: float | None = None
        self._length: float | None = None  # of each window
        self._remaining: int | None = None  # in it, as far as is known
        self._known = 0  # the first ticket since this is known

    def opens(self, now: float) -> float | None:
        """When a request may be sent, as far as is known: now or later; None for not before an answer comes."""
        if self._remaining == 0 and self._ends is not None:
            self._close(self._ends)
        earliest = max(self._closed_until, self._next)
        if earliest > now:
            return earliest
        room = self._lanes if self._remaining is None else min(self._lanes, self._remaining / 2)
        return now if self._in_flight == 0 or self._in_flight < room else None

    def enter(self, now: float) -> int:
        """Count a request that is sent now, and return its ticket."""
        self._in_flight += 1
        self._next = now + self._interval
        return self._answers

    def leave(self, ticket: int, told: Told | None, now: float) -> None:
        """Take note of what the answer to a request told, or that there was none."""
        self._in_flight -= 1
        self._answers += 1
        if told is None:
            return
        if told.slow_down:
            self._refused(told, ticket, now)
            return
        self._lanes = min(WIDEST, self._lanes + 1 / self._lanes)
        if ticket >= self._window:
            self._count(told, ticket, now)

    def _refused(self, told: Told, ticket: int, now: float) -> None:
        if self._in_flight and ticket >= self._narrowed:  # alone, it was not refused for being one of many
            self._lanes = (self._in_flight + 1) / 2
            self._narrowed = self._answers
        wait = told.reset if told.wait is None else told.wait
        if wait is None:
            return
        until = now + min(wait, BUDGET)
        if told.remaining != 0:  # maintenance, or another limit than the one that is counted down
            self._closed_until = max(self._closed_until, until)
        elif ticket >= self._window:
            if self._began is not None:
                self._length = until - self._began + MARGIN
            elif wait > MARGIN:  # a window should have begun here: the length was wrong
                self._length = None
            self._close(max(until, now + MARGIN))

    def _close(self, until: float) -> None:
        """The window is used up; the next one begins then, and what older answers tell is not about it."""
        self._closed_until = max(self._closed_until, until)
        self._window = self._answers
        self._began = self._ends = None
        self._remaining = 0

    def _count(self, told: Told, ticket: int, now: float) -> None:
        if told.remaining is None:
            self._remaining = None
            return
        # Whoever asks later is told less, unless a new window has begun.
        later = ticket >= self._known
        if self._began is None or self._remaining is None or (later and told.remaining >= self._remaining):
            self._began, self._remaining, self._known = now, told.remaining, self._answers
        elif told.remaining < self._remaining:
            self._remaining, self._known = told.remaining, self._answers
        if told.reset is not None:
            self._ends = now + min(told.reset, BUDGET) + MARGIN
        elif self._length is not None:
            self._ends = self._began + self._length


class Pace:
    """A gate that threads wait at."""

    def __init__(self, per_minute: float | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._gate = Gate(per_minute)
        self._clock = clock
        self._changed = Condition()

    def enter(self, pause: Callable[[float], None]) -> int:
        """
        Return when a request may be sent, with the ticket that `leave` wants back.

        `pause` waits for seconds, and raises to give up.
        """
        at = self._clock()
        while True:
            with self._changed:
                at = max(at, self._clock())
                opens = self._gate.opens(at)
                if opens is not None and opens <= at:
                    return self._gate.enter(at)
                if opens is None:
                    self._changed.wait(1)
            if opens is None:
                pause(0)
            else:
                pause(opens - at)
                at = opens

    def leave(self, ticket: int, told: Told | None) -> None:
        """Take note of what an answer told, or that there was none."""
        with self._changed:
            self._gate.leave(ticket, told, self._clock())
            self._changed.notify_all()


def _number(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else None


_lock = Lock()
_paces: WeakValueDictionary[tuple[str, str, float | None], Pace] = WeakValueDictionary()


def shared_pace(settings: Settings) -> Pace:
    """Return the pace that all clients of this connection in this process keep to."""
    key = (settings.base_url, settings.client_id, settings.requests_per_minute)
    with _lock:
        return _paces.get(key) or _paces.setdefault(key, Pace(settings.requests_per_minute))
