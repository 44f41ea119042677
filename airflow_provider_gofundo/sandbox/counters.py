"""What a sandbox has seen: counters, and a bounded log of requests."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from .messages import Request

LOGGED = 10_000


@dataclass(frozen=True)
class Seen:
    """One request with the status of its answer; None if the connection was cut instead."""

    method: str
    path: str
    query_string: str = field(repr=False)
    status: int | None
    headers: dict[str, str] = field(repr=False)
    """As sent, names in lower case."""
    body: bytes = field(repr=False)
    fault: str | None = None

    @property
    def query(self) -> dict[str, str]:
        """The query parameters."""
        return dict(parse_qsl(self.query_string, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form body."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


class Counters:
    """Numbers since the start, or since `clear`. An answer is counted before it is sent."""

    def __init__(self) -> None:
        self.log: deque[Seen] = deque(maxlen=LOGGED)
        self._connections: Callable[[], int] = int
        self.clear()

    def clear(self) -> None:
        """Start again at zero."""
        self.requests: Counter[str] = Counter()
        """By method and path template: "GET /api/donations/{id}"."""
        self.statuses: Counter[int] = Counter()
        self.grants: Counter[str] = Counter()
        """Token requests by grant_type, granted or not."""
        self.faults: Counter[str] = Counter()
        """Faults that happened, by kind."""
        self.throttled = 0
        """Answers 429, whether of a throttle or of a fault."""
        self.cut = 0
        """Connections closed by a fault."""
        self.in_flight = 0
        self.in_flight_max = 0
        self.connections_max = 0
        """The most that were open when a request came in, those to the control endpoint included."""
        self.log.clear()

    def watch(self, connections: Callable[[], int]) -> None:
        """Ask here how many connections are open."""
        self._connections = connections

    @property
    def connections_open(self) -> int:
        """Connections open now."""
        return self._connections()

    @property
    def total(self) -> int:
        """All requests but those to the control endpoint."""
        return sum(self.requests.values())

    def arrived(self) -> None:
        """A request has come in."""
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        self.connections_max = max(self.connections_max, self.connections_open)

    def left(self) -> None:
        """A request is over."""
        self.in_flight = max(0, self.in_flight - 1)

    def answered(self, request: Request, template: str, status: int | None, fault: str | None) -> None:
        """An answer is about to be sent, or the connection about to be cut."""
        self.requests[f"{request.method} {template}"] += 1
        if template == "/oauth/token" and request.method == "POST":
            self.grants[str(request.form.get("grant_type", ""))] += 1
        if status is None:
            self.cut += 1
        else:
            self.statuses[status] += 1
            self.throttled += status == 429
        if fault is not None:
            self.faults[fault] += 1
        self.log.append(
            Seen(
                request.method,
                request.path,
                request.query_string,
                status,
                request.headers,
                request.body,
                fault,
            )
        )

    def as_dict(self) -> dict[str, Any]:
        """All numbers."""
        names = ("requests", "statuses", "grants", "faults")
        plain = (
            "throttled",
            "cut",
            "in_flight",
            "in_flight_max",
            "connections_open",
            "connections_max",
            "total",
        )
        return {name: dict(getattr(self, name)) for name in names} | {name: getattr(self, name) for name in plain}
