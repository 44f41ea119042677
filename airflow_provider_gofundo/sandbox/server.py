"""Runs an ASGI application with uvicorn in a thread of its own, on loopback."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn

HOST = "127.0.0.1"
START_SECONDS = 10.0
BACKLOG = 512


class _Server(uvicorn.Server):
    """uvicorn's server, told to stop by an event, and without patience for open connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.running = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.running.set()
        tick = 0
        while not await self.on_tick(tick):
            tick = (tick + 1) % 864_000
            try:
                await asyncio.wait_for(self._stop.wait(), 0.1)
            except asyncio.TimeoutError:  # not the built-in one before Python 3.11
                continue

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # the connections learn that they are gone before their requests end
        for task in list(self.server_state.tasks):
            task.cancel()
        await super().shutdown(sockets)

    def stop(self) -> None:
        """Make the loop end soon; from any thread."""
        self.should_exit = True
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)


class ServerThread:
    """A server that listens when the constructor returns, until `stop`."""

    def __init__(self, make_app: Callable[[ServerThread], Any], port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((HOST, port))
            self._socket.listen(BACKLOG)
        except OSError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            make_app(self),
            http="httptools" if importlib.util.find_spec("httptools") else "h11",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=75,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name=f"gofundo-sandbox-{self.port}", daemon=True
        )
        self._thread.start()
        if not self._server.running.wait(START_SECONDS):
            self.stop()
            raise RuntimeError("the sandbox did not start")

    def connections(self) -> int:
        """How many connections are open."""
        return len(self._server.server_state.connections)

    def cut(self, peer: tuple[str, int]) -> None:
        """Close the connection from this address, after what was already written."""
        for connection in self._server.server_state.connections:
            if getattr(connection, "client", None) == tuple(peer):
                connection.transport.close()

    def stop(self) -> None:
        """Close every connection at once, and the port."""
        self._server.stop()
        self._thread.join()
        self._socket.close()
