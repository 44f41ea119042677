"""Wires: the sockets that are open. Another thread can cut them, and none is read for ever."""

from __future__ import annotations

import socket
from contextlib import suppress
from http.client import HTTPResponse
from typing import Any
from weakref import ReferenceType, ref

from urllib3 import HTTPConnectionPool, PoolManager

from airflow_provider_gofundo.patience import Patience


class Wires:
    """
    The open sockets of one adapter, and its `patience` with them.

    No lock is taken, so that a signal handler may cut: adding to a set, and copying it, happens in one piece.
    """

    def __init__(self) -> None:
        self.patience = Patience()
        self._open: set[ReferenceType[socket.socket]] = set()
        self._over = False

    def watch(self, manager: PoolManager) -> None:
        """Let the pools that this manager is going to make have connections whose sockets are known here."""
        kinds = manager.pool_classes_by_scheme
        manager.pool_classes_by_scheme = {scheme: self._pool(kind) for scheme, kind in kinds.items()}

    def cut(self) -> None:
        """Cut them, and from now on every one that is opened."""
        self._over = True
        for wire in list(self._open):
            _shut(wire())

    def _add(self, wire: socket.socket) -> None:
        self._open.add(ref(wire, self._open.discard))
        if self._over:
            _shut(wire)

    def _pool(self, kind: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
        base: Any = kind.ConnectionCls
        add, answer = self._add, self.patience.answer

        class Connection(base):  # type: ignore[misc]  # its base is known when it runs
            def connect(self) -> None:
                super().connect()
                # The socket, because a connection lets go of it while its last answer is still being read.
                add(self.sock)

            def response_class(self, *args: Any, **options: Any) -> HTTPResponse:
                """Every answer comes from here, a proxy's to CONNECT as well."""
                return answer(*args, **options)

        return type(kind.__name__, (kind,), {"ConnectionCls": Connection})


def _shut(wire: socket.socket | None) -> None:
    wire = getattr(wire, "socket", wire)  # through a proxy TLS lies in TLS, and the socket inside
    if wire is not None:
        with suppress(OSError):  # closed meanwhile
            # Past TLS, whose own way to close waits for the other side.
            socket.socket.shutdown(wire, socket.SHUT_RDWR)
