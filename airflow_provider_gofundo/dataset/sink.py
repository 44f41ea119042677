"""HashingSink: where the bytes of a part go, counted and hashed on their way."""

from __future__ import annotations

import hashlib
import io
from typing import IO


class HashingSink(io.RawIOBase):
    """Passes bytes on to a file, and knows how many there were and their SHA-256."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size = 0
        self.hash = hashlib.sha256()

    def write(self, data: bytes) -> int:  # type: ignore[override]  # bytes is all that comes
        self._file.write(data)
        self.hash.update(data)
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        return self.size

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            try:
                self._file.close()
            finally:
                super().close()  # else it is tried once more when this is collected, and nobody hears of it
