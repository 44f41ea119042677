"""Columns: blocks of JSON records become Arrow tables; the widest type each column has had is remembered."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec
import pyarrow as pa

from airflow_provider_gofundo.dataset.arrow import (
    EXACT,
    REFUSED,
    TEXT,
    Boundless,
    Misfit,
    as_made,
    one,
    parse,
    parse_one,
    require_bounds,
    require_few,
    settled,
)
from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoStorageError

log = logging.getLogger(__name__)


class Columns:
    """
    Reads blocks of records, each a JSON object on one line, as tables.

    A block is read whole by pyarrow. One that pyarrow refuses, or would round, is read column by column, and a
    column that no type holds becomes text: a string as it is, any other value as its JSON.
    """

    def __init__(self, declared: Mapping[str, pa.DataType]) -> None:
        self._declared = dict(declared)
        self._known: dict[str, pa.DataType] = dict(declared)
        self._forced: set[str] = set()  # columns of text in which records have something else
        self.unseen = set(declared)  # declared columns without a value so far

    def adopt(self, schema: pa.Schema) -> None:
        """Know the types of a part that was written before, where they are not declared."""
        self._known = {**{field.name: as_made(field.type) for field in schema}, **self._declared}
        self.unseen.clear()  # who knows

    def table(self, lines: memoryview, count: int) -> pa.Table:
        """Return a block of so many records with every column known so far, and know its types from now on."""
        if self._forced:
            lines = self._with_text(lines, count)
        columns = self._whole(lines, count) or self._apart(lines, count)
        if not columns:
            raise GofundoStorageError("Records without any field cannot be written as parquet; use ndjson.")
        for name, column in columns.items():
            before = self._known.get(name)
            if before is not None and pa.types.is_nested(before) and column.type == TEXT:
                log.warning(
                    "column %s holds values of several kinds: JSON text from here on, objects or lists before. "
                    'Text from the first record on: schema={"%s": "string"}.', name, name,
                )  # fmt: skip
            self._known[name] = column.type
        self.unseen -= {name for name in self.unseen if columns[name].null_count < count}
        return pa.table(columns)

    def _rows(self, lines: memoryview, count: int) -> list[dict[str, msgspec.Raw]]:
        try:
            rows = _ROW.decode_lines(lines)
        except (msgspec.DecodeError, UnicodeDecodeError):
            rows = []
        if len(rows) != count:
            raise GofundoStorageError("A record is not a JSON object and cannot be written as parquet; use ndjson.")
        return rows

    def _with_text(self, lines: memoryview, count: int) -> memoryview:
        """Write records anew, with text in those columns that had to become text: so they can be read whole again."""
        rows = self._rows(lines, count)
        for row in rows:
            for name in self._forced & row.keys():
                row[name] = msgspec.Raw(_as_text(row[name]))
        return memoryview(_LINES.encode_lines(rows))

    def _whole(self, lines: memoryview, count: int) -> dict[str, pa.Array] | None:
        """Read a block in one go; None where that cannot be done without loss."""
        try:
            table = parse(lines, self._known)
            if table.num_rows != count:
                return None
            found = dict(zip(table.schema.names, map(one, table.columns), strict=True))
            names = self._names(found)
            return {name: self._typed(name, found.get(name, pa.nulls(count))) for name in names}
        except (*REFUSED, Misfit, UnicodeDecodeError):
            return None

    def _names(self, found: Iterable[str]) -> Iterable[str]:
        """All columns: those known so far first."""
        names = dict.fromkeys([*self._known, *found])
        require_few(names)
        return names

    def _typed(self, name: str, column: pa.Array, *, exact: bool = False) -> pa.Array:
        column.validate(full=True)  # the reader lets broken UTF-8 pass
        declared = self._declared.get(name)
        if declared is not None:
            return column if column.type == declared else column.cast(declared)
        column = settled(column, self._known.get(name), exact=exact)
        require_bounds(column)
        return column

    def _apart(self, lines: memoryview, count: int) -> dict[str, pa.Array]:
        """Read a block column by column."""
        rows = self._rows(lines, count)
        names = self._names(name for row in rows for name in row)
        return {name: self._column(name, [row.get(name) for row in rows]) for name in names}

    def _column(self, name: str, values: Sequence[msgspec.Raw | None]) -> pa.Array:
        known, declared = self._known.get(name), self._declared.get(name)
        for guess in (known,) if declared or known in (None, TEXT) else (known, None):
            try:
                column = parse_one(values, guess)
                return self._typed(name, column, exact=_exact(column, values))
            except Boundless as error:  # noqa: PERF203  # two turns at most
                log.warning("column %s becomes JSON text: it holds %s.", name, error)
                break
            except (*REFUSED, Misfit):
                continue
        if declared not in (None, TEXT):
            raise GofundoConfigError(
                f"column {name}: a value does not fit {declared}, the type that schema gives it; "
                f"nothing was replaced. {_advice(declared)}, or string."
            )
        self._forced.add(name)
        try:
            column = parse_one([None if value is None else _as_text(value) for value in values], TEXT)
            column.validate(full=True)
        except (*REFUSED, UnicodeDecodeError):
            pass
        else:
            return column
        raise GofundoStorageError(f"column {name}: a text is not valid Unicode and cannot be written as parquet.")


_ROW = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LINES = msgspec.json.Encoder()


def _advice(declared: pa.DataType) -> str:
    if pa.types.is_timestamp(declared):
        return "Times with a zone need timestamp[us, tz=UTC], times without one timestamp[us]"
    if pa.types.is_decimal(declared):
        return "It may need more digits, as in decimal128(38, 4)"
    if pa.types.is_integer(declared):
        return "Fractions need double or a decimal, greater numbers int64"
    return "Give it another type"


def _exact(column: pa.Array, values: Sequence[msgspec.Raw | None]) -> bool:
    """Whether the doubles of a column say just what was sent: no integer beyond them, and no digit too many."""
    exact = "double" in str(column.type)

    def whole(text: str) -> float:
        nonlocal exact
        exact = exact and abs(float(text)) < EXACT
        return 0.0

    def broken(text: str) -> float:
        nonlocal exact
        exact = exact and Decimal(text) == Decimal(repr(float(text)))
        return 0.0

    for value in values if exact else ():
        if value is not None:
            json.loads(bytes(value), parse_int=whole, parse_float=broken)
    return exact


def _as_text(value: msgspec.Raw) -> bytes:
    """Return a value as a JSON string: a string as it is, null as null, anything else as the text it was sent as."""
    plain = bytes(value)
    return plain if plain[:1] in (b'"', b"n") else msgspec.json.encode(plain.decode())
