"""The sandbox as Python sees it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from .app import Application
from .clients import ALICE, Client, User, directory
from .clock import Clock
from .counters import Counters, Seen
from .faults import Faults
from .fields import LISTS
from .hooks import Hook, Hooks
from .records import Records
from .server import HOST, ServerThread
from .settings import Settings
from .state import State
from .throttle import Throttle
from .tokens import Access, TokenStore


class Sandbox:
    """A local stand-in for a Gofundo instance, on loopback, with fictitious data.

    Use it as a context manager, or call `start` and `stop`. Its lists and fields are its own, not Gofundo's. What it
    holds (records, tokens, settings, counters) survives a stop, and a start after it listens on the same port.

    `records`, `donors` and `actions` are the sizes of the three lists; `port` 0 takes a free one; every other keyword
    is a setting (see `Settings`).
    """

    def __init__(
        self,
        *,
        records: int = 1_000,
        donors: int = 250,
        actions: int = 40,
        port: int = 0,
        clients: Iterable[Client] = (),
        **settings: Any,
    ) -> None:
        chosen = Settings()
        chosen.update(settings)
        clock = Clock(chosen)
        counts = {"donations": records, "donors": donors, "actions": actions}
        self._state = State(
            settings=chosen,
            clock=clock,
            clients=directory(clients),
            tokens=TokenStore(),
            records={name: Records(name, LISTS[name], count, clock) for name, count in counts.items()},
            faults=Faults(),
            counters=Counters(),
            throttle=Throttle(chosen),
            hooks=Hooks(),
        )
        self._port = port
        self._server: ServerThread | None = None

    # --- running --------------------------------------------------------------------------------------------

    def start(self) -> Sandbox:
        """Listen; does nothing if it listens already."""
        if self._server is None:
            self._server = ServerThread(
                lambda server: Application(self._state, server.connections, server.cut), self._port
            )
            self._port = self._server.port
        return self

    def stop(self) -> None:
        """Cut every connection and stop listening; no thread and no socket is left."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    @property
    def port(self) -> int:
        """The port it listens on, or listened on last."""
        return self._port

    @property
    def url(self) -> str:
        """Its base URL, without a slash at the end."""
        return f"http://{HOST}:{self._port}"

    # --- looking and steering -------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """The switches; assign to them at any time."""
        return self._state.settings

    @property
    def faults(self) -> Faults:
        """The faults that wait for a request."""
        return self._state.faults

    @property
    def counters(self) -> Counters:
        """What it has seen, in numbers."""
        return self._state.counters

    @property
    def requests(self) -> Sequence[Seen]:
        """The requests it has seen, oldest first, the latest 10,000; those to the control endpoint not."""
        return tuple(self._state.counters.log)

    @property
    def clients(self) -> dict[str, Client]:
        """The API clients by id."""
        return self._state.clients

    @property
    def user(self) -> User:
        """The one user."""
        return ALICE

    @property
    def tokens(self) -> TokenStore:
        """What it has issued."""
        return self._state.tokens

    @property
    def records(self) -> dict[str, Records]:
        """The lists by name."""
        return self._state.records

    def now(self) -> float:
        """The sandbox's clock, seconds since 1970."""
        return self._state.clock.now()

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock forward, so that tokens expire; throttles run on real time."""
        self._state.clock.advance(seconds)

    def token(self, client_id: str = "1", *, user: bool = False, scopes: Sequence[str] = ()) -> str:
        """A fresh access token without a token request."""
        value = secrets.token_urlsafe(48)
        expires_at = self.now() + self.settings.access_lifetime
        self.tokens.issue(value, Access(client_id, ALICE if user else None, tuple(scopes), expires_at))
        return value

    def revoke_all(self) -> int:
        """Revoke every token; answers how many were alive."""
        return self.tokens.revoke_all()

    def reset_throttle(self) -> None:
        """Open every throttle window anew."""
        self._state.throttle.clear()

    def before_each(self, hook: Hook | None) -> None:
        """Call `hook(method, path)` right before each list answer is made, or nothing with None.

        It comes after faults, latency, throttle and token, one request at a time, and holds the lock of that list:
        what it changes is in the answer, and no other thread changes the list in between. So it must not wait for
        a thread that does. If it raises, the answer is a 500 and the log has the traceback.
        """
        self._state.hooks.before_each = hook

    def records_insert(self, name: str, count: int = 1, *, at: float | None = None) -> list[int]:
        """Add records to a list; answers their ids."""
        return self.records[name].insert(count, at=at)

    def records_delete(self, name: str, ids: Iterable[int]) -> int:
        """Remove records from a list; answers how many were there."""
        return self.records[name].delete(ids)

    def records_touch(self, name: str, ids: Iterable[int], *, at: float | None = None) -> int:
        """Set `updated_at` of records to now or `at`; answers how many were there."""
        return self.records[name].touch(ids, at=at)
