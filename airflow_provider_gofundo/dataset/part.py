"""PartFile: one file of a dataset while it is written."""

from __future__ import annotations

import gzip
import hashlib
import io
from typing import IO, Literal

import msgspec

from airflow_provider_gofundo.dataset.manifest import Part

Compression = Literal["gzip", "none"]


class PartFile:
    """One file being written: lines in, compressed bytes out, counted and hashed on their way."""

    def __init__(self, name: str, file: IO[bytes], compression: Compression) -> None:
        self.name = name
        self.records = 0
        self._sink = _HashingSink(file)
        # No time stamp in it: the same records make the same bytes.
        self._gzip = gzip.GzipFile(fileobj=self._sink, mode="wb", mtime=0) if compression == "gzip" else None

    def write(self, records: list[msgspec.Raw]) -> None:
        (self._gzip or self._sink).write(b"\n".join(records) + b"\n")
        self.records += len(records)

    def close(self) -> Part:
        if self._gzip:
            self._gzip.close()
        self._sink.close()
        return Part(name=self.name, records=self.records, bytes=self._sink.size, sha256=self._sink.hash.hexdigest())


class _HashingSink(io.RawIOBase):
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

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
