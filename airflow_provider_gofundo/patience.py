"""Patience: how long an exchange may take, however little of its answer trickles in meanwhile."""

from __future__ import annotations

import io
import math
import threading
import time
from http.client import HTTPResponse
from typing import Any


class Patience(threading.local):
    """
    Until when the exchange of a thread may last; a thread has one at a time.

    A socket's own timeout is counted anew with every byte. So each read of it waits no longer than is left, which
    takes no thread that watches. A read of TLS has one timeout for a whole record, and a handshake one for all of it,
    but for TLS within a proxy's TLS, which urllib3 reads piece by piece: a record that trickles there is not ended.
    """

    _until = math.inf

    def begin(self, seconds: float) -> None:
        """Give the exchange that this thread begins now so many seconds, all in all."""
        self._until = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left, or raise TimeoutError where none is."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def answer(self, wire: Any, *args: Any, **options: Any) -> HTTPResponse:
        """Return what http.client reads an answer with, but that no read outlasts the exchange."""
        response = HTTPResponse(wire, *args, **options)
        buffered: Any = response.fp
        response.fp = io.BufferedReader(_Stream(buffered.detach(), wire, self, response))
        return response


class _Stream(io.RawIOBase):
    """
    What comes in at a socket. A read waits as long as the socket would, or as is left, whichever is less.

    An end within the headers is an error: http.client takes it for theirs, and the answer for a whole one.
    """

    def __init__(self, raw: io.RawIOBase, wire: Any, patience: Patience, response: HTTPResponse) -> None:
        self._raw, self._wire, self._patience, self._response = raw, wire, patience, response
        self._has_begun = False
        self._silence = wire.gettimeout() or math.inf

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._patience.left()
        if left < self._silence:
            self._wire.settimeout(left)  # the next exchange on this socket sets it anew
        count = self._raw.readinto(buffer)
        if not count and self._has_begun and self._response.headers is None:
            raise ConnectionResetError("closed within the headers")
        self._has_begun = True
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
