"""Clients: in one process all triggers of a connection have one, and with it one login and a few threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_gofundo.hooks.gofundo import GofundoHook

if TYPE_CHECKING:
    from airflow_provider_gofundo.client.client import GofundoClient
    from airflow_provider_gofundo.settings import Settings

T = TypeVar("T")

# Requests under way at the same time, for each connection. The others wait their turn without a thread.
THREADS = 8


class _Hook(GofundoHook):
    """A hook whose client tries once: a trigger looks again after its interval anyway."""

    @cached_property
    def settings(self) -> Settings:
        return replace(super()._settings(), max_attempts=1)

    def _settings(self) -> Settings:
        return self.settings


class _Shared:
    """A client with threads of its own, and how many use it now."""

    def __init__(self, hook: _Hook) -> None:
        self._client = hook.client
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="gofundo_trigger")
        self.users = 0

    async def ask(self, question: Callable[[GofundoClient], T]) -> T:
        """Return the answer to a question that blocks, asked in a thread."""
        run = partial(copy_context().run, question, self._client)
        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def end(self) -> None:
        """End what is under way, so that no thread survives."""
        self._client.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)


_shared: dict[Settings, _Shared] = {}


async def hook_of(conn_id: str) -> _Hook:
    """Look a connection up, in a thread, since Airflow asks its database or a secrets backend."""
    return await asyncio.to_thread(_found, conn_id)


def _found(conn_id: str) -> _Hook:
    import airflow_provider_gofundo.client.client  # noqa: F401  # takes long, the first time

    hook = _Hook(conn_id)
    hook.settings  # noqa: B018  # so that it is there
    return hook


@contextmanager
def shared_client(hook: _Hook) -> Iterator[_Shared]:
    """
    Lend the client that all triggers with these settings have. The last one to leave ends what is under way.

    Connections are told apart by all they say, so one that was corrected gets a new client. For the thread of the
    event loop only.
    """
    shared = _shared.get(hook.settings) or _shared.setdefault(hook.settings, _Shared(hook))
    shared.users += 1
    try:
        yield shared
    finally:
        shared.users -= 1
        if not shared.users:
            del _shared[hook.settings]
            shared.end()
