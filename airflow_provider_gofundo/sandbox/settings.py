"""The switches of a sandbox: what a test or a user may change while it runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

CONSENTS = ("approve", "deny", "ask")
LEAGUES = (8, 9)


def switch(default: Any, about: str) -> Any:
    """A setting with what the command line says about it."""
    return field(default=default, metadata={"about": about})


@dataclass
class Settings:
    """Everything about a sandbox that can change while it runs.

    An assignment is checked and takes effect with the next request; it may come from any thread. Several changes
    that belong together go through `update`, which applies all of them or none.
    """

    league: int = switch(
        8,
        "The OAuth dialect: 8 as league/oauth2-server 8 under Laravel Passport, 9 as league/oauth2-server 9.",
    )
    access_lifetime: int = switch(1_209_600, "Seconds an access token lives: two weeks, as Gofundo documents.")
    refresh_lifetime: int = switch(3_600, "Seconds a refresh token lives: one hour, as Gofundo documents.")
    code_lifetime: int = switch(600, "Seconds an authorization code lives.")
    consent: str = switch(
        "approve", 'What the authorize endpoint does: "approve" or "deny" at once, or "ask" on an HTML page.'
    )
    token_per_minute: int | None = switch(
        None, "Token requests a minute and address, 60 on a stock server; None switches the throttle off."
    )
    api_per_minute: int | None = switch(
        None, "Requests under /api/ a minute and address; None switches the throttle off."
    )
    throttled_per_minute: int = switch(3, "The limit of the route /api/throttled.")
    throttle_window: float = switch(60.0, 'Seconds that "a minute" lasts in the three limits above.')
    latency_ms: float = switch(0.0, "Milliseconds every answer waits; other requests go on meanwhile.")
    max_per_page: int = switch(1_000, "A larger per_page is silently cut to this.")
    keep_query: bool = switch(
        False, "Page links keep the other query parameters, as an app that calls withQueryString() does."
    )
    link_base: str | None = switch(
        None, "Scheme and host of every link, where the app believes in another one than the client uses."
    )
    cursor_names: bool = switch(
        False, "cursorPaginate() also tells next_cursor and prev_cursor, as Laravel does from 9.1."
    )
    per_page_string: bool = switch(False, "simplePaginate() tells a given per_page as a string.")
    pretty: bool = switch(False, "JSON is pretty-printed.")
    gzip: bool = switch(False, "Bodies are compressed for clients that accept it.")
    clock_offset: float = switch(0.0, "Seconds the sandbox's clock is ahead, so that tokens expire without waiting.")
    access_log: bool = switch(False, "One log line a request. Off by default: query strings can hold personal data.")

    def __post_init__(self) -> None:
        self.__dict__["_lock"] = threading.RLock()
        self.__dict__["_version"] = 0

    def __setattr__(self, name: str, value: object) -> None:
        _check(name, value)
        with self.__dict__.setdefault("_lock", threading.RLock()):
            self.__dict__[name] = value
            self.__dict__["_version"] = self.__dict__.get("_version", 0) + 1

    @property
    def version(self) -> int:
        """A number that grows with every change."""
        version: int = self.__dict__["_version"]
        return version

    def update(self, changes: Mapping[str, object]) -> None:
        """Apply all the changes, or none of them if one is wrong (ValueError)."""
        for name, value in changes.items():
            _check(name, value)
        with self.__dict__["_lock"]:
            for name, value in changes.items():
                setattr(self, name, value)

    def as_dict(self) -> dict[str, Any]:
        """All switches with their values."""
        return asdict(self)


def _check(name: str, value: object) -> None:
    """Raise ValueError unless the switch exists and the value has its type."""
    kind = KINDS.get(name)
    if kind is None:
        raise ValueError(f"no such setting: {name}")
    choices = {"league": LEAGUES, "consent": CONSENTS}.get(name)
    if choices is not None:
        if value not in choices:
            raise ValueError(f"{name} is one of {', '.join(map(str, choices))}, not {value!r}")
        return
    if value is None and "None" in kind:
        return
    if kind.startswith("float"):
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
    elif kind.startswith("int"):
        good = isinstance(value, int) and not isinstance(value, bool)
    else:
        good = isinstance(value, bool if kind == "bool" else str)
    if not good:
        raise ValueError(f"{name} is of type {kind}, not {value!r}")


KINDS = {setting.name: str(setting.type) for setting in fields(Settings)}
