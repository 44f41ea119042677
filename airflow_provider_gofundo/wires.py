"""Wires: the sockets that are open, so that another thread can cut them."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any
from weakref import ReferenceType, ref

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool


class Wires:
    """
    The open sockets of one adapter.

    `pools` are urllib3's pools by scheme, but with connections that write down their sockets here. No lock is
    taken, so that a signal handler may cut: adding to a set, and copying it, happens in one piece.
    """

    def __init__(self) -> None:
        self._open: set[ReferenceType[socket.socket]] = set()
        self._over = False
        self.pools = {"http": self._pool(HTTPConnectionPool), "https": self._pool(HTTPSConnectionPool)}

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
        add = self._add

        class Connection(base):  # type: ignore[misc]  # its base is known when it runs
            def connect(self) -> None:
                super().connect()
                # The socket, because a connection lets go of it while its last answer is still being read.
                add(self.sock)

        return type(kind.__name__, (kind,), {"ConnectionCls": Connection})


def _shut(wire: socket.socket | None) -> None:
    wire = getattr(wire, "socket", wire)  # through a proxy TLS lies in TLS, and the socket inside
    if wire is not None:
        with suppress(OSError):  # closed meanwhile
            # Past TLS, whose own way to close waits for the other side.
            socket.socket.shutdown(wire, socket.SHUT_RDWR)
