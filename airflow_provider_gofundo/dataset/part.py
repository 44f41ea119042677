"""PartFile: one file of a dataset while it is written; Format: how such files are written and read back."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import IO, Any, Literal, Protocol

import msgspec

from airflow_provider_gofundo.dataset.keys import field_reader
from airflow_provider_gofundo.dataset.manifest import Part
from airflow_provider_gofundo.dataset.sink import HashingSink
from airflow_provider_gofundo.exceptions import GofundoConfigError

FileFormat = Literal["ndjson", "parquet"]
Compression = Literal["gzip", "zstd", "snappy", "none"]

# Of gzip, as its command has it. Python's 9 takes more than twice as long, for 9 % less of the sandbox's donations.
LEVEL = 6

# What zlib calls it: its own format is 15, and 16 stands for gzip's header and end.
GZIP = 16 + zlib.MAX_WBITS

_COMPRESSIONS = {"ndjson": ("gzip", "none"), "parquet": ("gzip", "zstd", "snappy", "none")}


class PartFile(Protocol):
    """One file being written: records in, bytes out, counted and hashed on their way."""

    @property
    def name(self) -> str:
        """Its name beside the manifest."""

    @property
    def records(self) -> int:
        """How many it holds, those that wait to be converted included."""

    @property
    def settled(self) -> int:
        """How many of them are in it for good, and cannot be handed back."""

    def write(self, records: Sequence[msgspec.Raw]) -> Sequence[msgspec.Raw]:
        """Append records; return those that do not fit this part and belong to the next one, in order."""

    def flush(self) -> Sequence[msgspec.Raw]:
        """Convert what waits; return what does not fit, as `write` does."""

    def close(self) -> Part:
        """End the file and describe it. What waits is not in it: flush first."""


class Format(Protocol):
    """How parts are written. One of these serves one run: it may remember what earlier parts held."""

    @property
    def name(self) -> str:
        """The format, for the manifest."""

    @property
    def compression(self) -> str:
        """The compression, for the manifest."""

    @property
    def suffix(self) -> str:
        """How the names of its files end."""

    def part(self, name: str, file: IO[bytes]) -> PartFile:
        """Begin a part in an open file, which the part closes."""

    def adopt(self, file: IO[bytes]) -> None:
        """Take over what a finished part of an earlier try remembers."""

    @property
    def unseen(self) -> Collection[str]:
        """Fields that were asked for and have had no value in any record so far."""

    def keys(self, file: IO[bytes], field: str) -> Iterator[Any]:
        """Read one top-level field of every record of a finished part; None where it is missing or null."""


def format_of(file_format: str, compression: str, schema: Mapping[str, str] | None = None) -> Format:
    """Return a format by its name; GofundoConfigError when there is no such thing, or nothing to write it with."""
    if file_format not in _COMPRESSIONS:
        raise GofundoConfigError("file_format must be ndjson or parquet.")
    if compression not in _COMPRESSIONS[file_format]:
        *some, last = _COMPRESSIONS[file_format]
        raise GofundoConfigError(f"compression must be {', '.join(some)} or {last} with file_format {file_format}.")
    if file_format == "ndjson":
        if schema:
            raise GofundoConfigError("schema needs file_format parquet: ndjson is what the server wrote.")
        return NdjsonFormat(compression)
    try:
        from airflow_provider_gofundo.dataset.parquet import ParquetFormat
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "pyarrow":
            raise
    else:
        return ParquetFormat(compression, schema)
    raise GofundoConfigError(
        "file_format parquet needs pyarrow: install this provider with its extra parquet, or pip install pyarrow."
    )


class NdjsonFormat:
    """One record a line, as the server wrote it."""

    name = "ndjson"
    unseen = ()

    def __init__(self, compression: str) -> None:
        self.compression = compression
        self.suffix = ".ndjson.gz" if compression == "gzip" else ".ndjson"

    def part(self, name: str, file: IO[bytes]) -> PartFile:
        return _NdjsonPart(name, file, self.compression)

    def adopt(self, file: IO[bytes]) -> None:
        """A line knows nothing of the one before."""

    def keys(self, file: IO[bytes], field: str) -> Iterator[Any]:
        lines = gzip.GzipFile(fileobj=file) if self.compression == "gzip" else file
        return map(field_reader(field), lines)


class _NdjsonPart:
    def __init__(self, name: str, file: IO[bytes], compression: str) -> None:
        self.name = name
        self.records = 0
        self._sink = HashingSink(file)
        # No time stamp in it: the same records make the same bytes.
        self._gzip = zlib.compressobj(LEVEL, wbits=GZIP) if compression == "gzip" else None

    @property
    def settled(self) -> int:
        return self.records

    def write(self, records: Sequence[msgspec.Raw]) -> Sequence[msgspec.Raw]:
        lines = b"\n".join((*records, b""))
        self._sink.write(self._gzip.compress(lines) if self._gzip else lines)
        self.records += len(records)
        return ()

    def flush(self) -> Sequence[msgspec.Raw]:
        return ()

    def close(self) -> Part:
        try:
            if self._gzip:
                self._sink.write(self._gzip.flush())
        finally:
            self._sink.close()
        return Part(name=self.name, records=self.records, bytes=self._sink.size, sha256=self._sink.hash.hexdigest())
