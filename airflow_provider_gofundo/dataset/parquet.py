"""ParquetFormat: parts as Parquet files, a block of records a row group."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import IO, Any
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_gofundo.dataset.arrow import one
from airflow_provider_gofundo.dataset.block import Block
from airflow_provider_gofundo.dataset.columns import Columns
from airflow_provider_gofundo.dataset.manifest import Part
from airflow_provider_gofundo.dataset.sink import HashingSink
from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoStorageError

# What waits for its row group is bounded by whichever comes first; a part or a list can be as long as it likes.
BLOCK_RECORDS = 5_000
BLOCK_BYTES = 2_000_000

_WRITABLE = (
    pa.types.is_boolean, pa.types.is_integer, pa.types.is_float32, pa.types.is_float64, pa.types.is_decimal,
    pa.types.is_string, pa.types.is_date32, pa.types.is_timestamp,
)  # fmt: skip
_DECIMAL = re.compile(r"decimal(?:128)?\((\d+),\s*(\d+)\)")
_TIMESTAMP = re.compile(r"timestamp\[(s|ms|us|ns)(?:,\s*tz=([A-Za-z0-9_+:/-]+))?\]")


class ParquetFormat:
    """
    Parts that agree in their columns where they can: each begins with the widest types seen so far in the run.

    `schema` gives columns a type, as Arrow writes it; the others get theirs from their values. `compression` is
    gzip, zstd, snappy or none.
    """

    name = "parquet"
    suffix = ".parquet"

    def __init__(
        self, compression: str, schema: Mapping[str, str] | None = None, *,
        block_records: int = BLOCK_RECORDS, block_bytes: int = BLOCK_BYTES,
    ) -> None:  # fmt: skip
        self.compression = compression
        self._block = (block_records, block_bytes)
        self._columns = Columns({name: type_of(name, text) for name, text in (schema or {}).items()})

    def part(self, name: str, file: IO[bytes]) -> ParquetPart:
        return ParquetPart(name, file, self._columns, self.compression, Block(*self._block))

    def adopt(self, file: IO[bytes]) -> None:
        self._columns.adopt(pq.read_schema(file))

    @property
    def unseen(self) -> Collection[str]:
        return self._columns.unseen

    def keys(self, file: IO[bytes], field: str) -> Iterator[Any]:
        with pq.ParquetFile(file) as part:
            at = part.schema_arrow.get_field_index(field)
            for group in range(part.num_row_groups):
                if at < 0:
                    yield from [None] * part.metadata.row_group(group).num_rows
                else:
                    yield from part.read_row_group(group, columns=[field]).column(0).to_pylist()


class ParquetPart:
    """One Parquet file being written. The first block says what columns it has."""

    def __init__(self, name: str, file: IO[bytes], columns: Columns, compression: str, block: Block) -> None:
        self.name = name
        self._sink = HashingSink(file)
        self._columns = columns
        self._compression = compression
        self._block = block
        self._writer: pq.ParquetWriter | None = None
        self._written = 0

    @property
    def records(self) -> int:
        return self._written + self._block.records

    @property
    def settled(self) -> int:
        return self._written

    def write(self, records: Sequence[msgspec.Raw]) -> Sequence[msgspec.Raw]:
        while records:
            records = records[self._block.take(records) :]
            if self._block.is_full and (left := self.flush()):
                return [*left, *records]
        return ()

    def flush(self) -> Sequence[msgspec.Raw]:
        count = self._block.records
        if not count:
            return ()
        try:
            table = self._columns.table(self._block.lines, count)
            if self._writer is not None and table.schema != self._writer.schema:
                return self._block.all()
        finally:
            self._block.clear()
        if table.num_rows != count:
            raise GofundoStorageError(f"{count} records became {table.num_rows}; nothing was replaced.")
        if self._writer is None:
            # Arrow's own level for gzip is 9: five times the work, for nothing.
            level = 6 if self._compression == "gzip" else None
            self._writer = pq.ParquetWriter(
                self._sink, table.schema,
                compression=self._compression, compression_level=level, use_dictionary=repeating(table),
            )  # fmt: skip
        self._writer.write_table(table, row_group_size=count)
        self._written += count
        return ()

    def close(self) -> Part:
        try:
            if self._writer is not None:
                self._writer.close()
        finally:
            self._sink.close()
        return Part(name=self.name, records=self._written, bytes=self._sink.size, sha256=self._sink.hash.hexdigest())


def repeating(table: pa.Table) -> list[str]:
    """
    Return the columns, by their paths in Parquet, whose values come twice or more on average.

    For those a dictionary pays. Arrow makes one for every column, which costs more bytes than it saves in the others.
    """
    columns = zip(table.schema.names, map(one, table.columns), strict=True)
    leaves = ((path, values.drop_null()) for name, column in columns for path, values in _leaves(name, column))
    return [path for path, values in leaves if 2 * len(values.unique()) <= len(values)]


def _leaves(path: str, column: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    if pa.types.is_struct(column.type):
        for at, field in enumerate(column.type):
            yield from _leaves(f"{path}.{field.name}", column.field(at))
    elif pa.types.is_list(column.type):
        yield from _leaves(f"{path}.list.element", column.values)
    else:
        yield path, column


def type_of(column: str, text: str) -> pa.DataType:
    """Return the Arrow type that a text of `schema` names; GofundoConfigError when there is none we can write."""
    type_ = _named(text) if isinstance(text, str) else None
    if type_ is not None and any(is_kind(type_) for is_kind in _WRITABLE):
        return type_
    raise GofundoConfigError(
        f"schema: column {column} has an unknown type; give for example string, int64, double, bool, date32, "
        "decimal128(12, 2) or timestamp[us, tz=UTC]."
    )


def _named(text: str) -> pa.DataType | None:
    try:
        if decimal := _DECIMAL.fullmatch(text.strip()):
            return pa.decimal128(int(decimal[1]), int(decimal[2]))
        if timestamp := _TIMESTAMP.fullmatch(text.strip()):
            return pa.timestamp(timestamp[1], tz=timestamp[2] and ZoneInfo(timestamp[2]).key)
        return pa.type_for_alias(text.strip())
    except (ValueError, KeyError, OSError):
        return None
