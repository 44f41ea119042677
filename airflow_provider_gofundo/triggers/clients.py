"""Clients: in one process all triggers of a connection have one, and with it one login and a few threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoError
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
        """
        Return the answer to a question that blocks, asked in a thread.

        Once nobody waits for it, it ends with the exchange that is under way, and that has an end of its own.
        """
        with self._client.errand() as errand:
            run = partial(copy_context().run, question, self._client.within(errand))
            return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def end(self) -> None:
        """End what is under way, so that no thread survives."""
        self._client.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)


_shared: dict[Settings, _Shared] = {}


class SharedClient:
    """
    The client of a connection that all triggers with these settings have. The last to leave ends what is under way.

    Connections are told apart by all they say, so one that was corrected gets a new client. For the thread of the
    event loop only.
    """

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._settings: Settings | None = None
        self._is_current = False

    def __enter__(self) -> SharedClient:
        """Hold nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave."""
        self._change(None)

    async def ask(self, question: Callable[[GofundoClient], T]) -> T:
        """Return the answer to a question that blocks. After an error the connection is looked up anew."""
        if not self._is_current:
            await self._look_up()
        assert self._settings  # noqa: S101  # as it was looked up
        try:
            return await _shared[self._settings].ask(question)
        except GofundoError:
            self._is_current = False
            raise

    async def is_corrected(self) -> bool:
        """Whether the connection says something else by now; true as well where Airflow cannot tell."""
        try:
            return await self._look_up()
        except GofundoError:
            raise
        except Exception:  # noqa: BLE001  # what comes from Airflow's stores depends on its version
            return True

    async def _look_up(self) -> bool:
        """In a thread, since Airflow asks its database or a secrets backend."""
        hook = await asyncio.to_thread(_found, self._conn_id)
        before, self._is_current = self._settings, True
        if hook.settings != before:
            self._change(hook)
        return hook.settings != before

    def _change(self, hook: _Hook | None) -> None:
        before, self._settings = self._settings, hook.settings if hook else None
        if hook:
            shared = _shared.get(hook.settings) or _shared.setdefault(hook.settings, _Shared(hook))
            shared.users += 1
        if before:
            _shared[before].users -= 1
            if not _shared[before].users:
                _shared.pop(before).end()


def _found(conn_id: str) -> _Hook:
    import airflow_provider_gofundo.client.client  # noqa: F401  # takes long, the first time

    hook = _Hook(conn_id)
    try:
        hook.settings  # noqa: B018  # so that it is there
    except Exception as error:
        if type(error).__name__ != "AirflowNotFoundException":  # it has moved between Airflow's versions
            raise
        raise GofundoConfigError(f"There is no connection {conn_id}; add it, or name another.") from None
    return hook
