"""Faults on demand: what a server, a proxy or a network does to an answer."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

KINDS: dict[str, tuple[str, ...]] = {
    "status": ("status", "retry_after", "body", "message"),
    "html": (),
    "broken_json": (),
    "truncate": (),
    "drop": (),
    "slow": (),
    "lost_answer": (),
    "login_redirect": (),
    "redirect": ("url", "status"),
    "wrong_type": ("value",),
    "revoke": (),
}
"""Each kind with the options it knows; `seconds`, a wait before the answer, goes with all of them."""

REQUIRED = {"status": "status", "redirect": "url", "slow": "seconds"}


@dataclass
class Fault:
    """One fault and for which requests it waits. `times` None means for ever."""

    kind: str
    path: str
    method: str | None
    query: str | None
    times: int | None
    after: int
    options: dict[str, Any] = field(default_factory=dict)
    consumed: int = 0

    def matches(self, method: str, path: str, query_string: str) -> bool:
        """Whether it waits for such a request."""
        return (
            path.startswith(self.path)
            and self.method in (None, method)
            and (self.query is None or self.query in query_string)
        )

    @property
    def spent(self) -> bool:
        """Whether it has happened as often as it should."""
        return self.times is not None and self.consumed >= self.times


class Faults:
    """The faults that are waiting; each request meets at most one, in the order they were added."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(
        self,
        kind: str,
        path: str = "/api/",
        *,
        method: str | None = None,
        query: str | None = None,
        times: int | None = 1,
        after: int = 0,
        **options: Any,
    ) -> Fault:
        """Let `times` requests fail, after the first `after` ones went well.

        Requests match by the beginning of their path, by method and by a part of their raw query string.
        ValueError for a kind or an option that does not exist, or one that is missing.
        """
        if kind not in KINDS:
            raise ValueError(f"no such fault: {kind}; there are {', '.join(KINDS)}")
        unknown = set(options) - {*KINDS[kind], "seconds"}
        if unknown:
            raise ValueError(f"a fault {kind} knows no {', '.join(sorted(unknown))}")
        if kind in REQUIRED and REQUIRED[kind] not in options:
            raise ValueError(f"a fault {kind} needs {REQUIRED[kind]}")
        fault = Fault(kind, path, method.upper() if method else None, query, times, after, options)
        with self._lock:
            self._waiting.append(fault)
        return fault

    def take(self, method: str, path: str, query_string: str) -> Fault | None:
        """The fault this request meets, if any."""
        if not self._waiting:
            return None
        with self._lock:
            for fault in self._waiting:
                if not fault.matches(method, path, query_string):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.consumed += 1
                if fault.spent:
                    self._waiting.remove(fault)
                return fault
        return None

    @property
    def waiting(self) -> tuple[Fault, ...]:
        """The faults that have not happened as often as they should."""
        return tuple(self._waiting)

    def clear(self) -> None:
        """Take back every waiting fault."""
        with self._lock:
            self._waiting.clear()
