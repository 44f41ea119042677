"""What pyarrow's JSON reader makes of records, and the types that its columns settle on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from contextlib import suppress

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from airflow_provider_gofundo.exceptions import GofundoStorageError

MOMENT = pa.timestamp("us", tz="UTC")
TEXT = pa.string()

# From here on a double no longer holds every integer.
EXACT = 2.0**53

REFUSED = (pa.ArrowInvalid, pa.ArrowNotImplementedError)

# What a column may be made of. Each key of an object is a column for all records of a block, those without it too: so
# many keys, on all levels together; so many nulls in a block, mostly what nobody sent; and so many levels of objects
# and lists, for Arrow reads no file that has many more.
MOST_KEYS, MOST_NULLS, DEEPEST = 500, 2_000_000, 30

# Different fields of all records.
MOST_COLUMNS = 2_000


class Misfit(Exception):
    """Not an error: values and the type they would get do not go together, and the next way is tried."""


class Boundless(Misfit):
    """What a column would be made of has no bounds: it is worth no type but text."""


def parse(data: bytes | memoryview, types: Mapping[str, pa.DataType]) -> pa.Table:
    """Read records, one a line, whose columns are known to have these types so far; others get theirs from them."""
    if types:
        with suppress(*REFUSED):  # a field that is new, or a value of another type
            return _read(data, {name: read_as(type_, strict=True) for name, type_ in types.items()}, "error")
    wanted = {name: read_as(type_) for name, type_ in types.items()}
    for part in (25, 5, 1):  # so that what is boundless is seen while it is small
        if some := _beginning(data, part):
            table = _read(some, wanted, "infer")
            require_few(table.schema)
            for column in table.columns:
                require_bounds(one(column), part)
    if not any(map(_doubtful, table.schema.types)):
        return table
    return _read(data, {field.name: read_as(field.type, strict=True) for field in table.schema}, "error")


def _read(data: bytes | memoryview, asked: Mapping[str, pa.DataType | None], unexpected: str) -> pa.Table:
    fields = [(name, type_) for name, type_ in asked.items() if type_ is not None]
    return pyarrow.json.read_json(
        pa.BufferReader(data),
        # One block, so that no record is too long for it, and its types are those of all of its records.
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1),
        parse_options=pyarrow.json.ParseOptions(
            explicit_schema=pa.schema(fields), unexpected_field_behavior=unexpected
        ),
        # Others give memory back after a block and get it anew for the next, which is 5 % of a pull's CPU.
        memory_pool=pa.system_memory_pool(),
    )


def _beginning(data: bytes | memoryview, part: int) -> bytes | memoryview:
    """The records that lie whole within its first half, third, quarter, or whatever `part` says."""
    if part == 1:
        return data
    some = bytes(data[: len(data) // part])
    return some[: some.rfind(b"\n") + 1]


def require_few(names: Sized) -> None:
    """GofundoStorageError where these are too many for columns."""
    if len(names) > MOST_COLUMNS:
        raise GofundoStorageError(
            f"The records have more than {MOST_COLUMNS:,} different fields, too many for parquet; use ndjson."
        )


def require_bounds(column: pa.Array, part: int = 1) -> None:
    """Boundless where a column is made of too much; it is of half a block, a third, or whatever `part` says."""
    level, keys, nulls = [column], 0, 0
    for _ in range(DEEPEST):
        inner: list[pa.Array] = []
        for array in level:
            if pa.types.is_struct(array.type):
                inner += (array.field(at) for at in range(array.type.num_fields))
            elif pa.types.is_list(array.type):
                inner.append(array.values)
            else:
                keys, nulls = keys + 1, nulls + array.null_count
        if keys + len(inner) > MOST_KEYS:
            raise Boundless(f"objects of more than {MOST_KEYS} different keys")
        if nulls * part > MOST_NULLS:
            raise Boundless("objects of many different keys, of which each has few")
        level = inner
    if level:
        raise Boundless(f"objects and lists nested {DEEPEST} levels deep")


def parse_one(values: Sequence[msgspec.Raw | bytes | None], type_: pa.DataType | None) -> pa.Array:
    """Read the values of one column; `type_` None lets pyarrow choose."""
    lines = b"\n".join(b"{}" if value is None else b'{"c":%b}' % bytes(value) for value in values)
    table = parse(lines, {} if type_ is None else {"c": type_})
    if not table.num_columns:
        return pa.nulls(len(values))
    if table.num_rows != len(values):
        raise Misfit
    return one(table.column(0))


def one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def read_as(type_: pa.DataType, *, strict: bool = False) -> pa.DataType | None:
    """
    Return what to ask pyarrow's JSON reader for; None leaves it the choice, where nothing but null was seen.

    `strict` leaves no choice: there is null, and in lists text, for null alone is lost in them
    (github.com/apache/arrow/issues/51305). Times are read as text and cast after: pyarrow takes dates and times
    without a zone for UTC.
    """
    if pa.types.is_null(type_):
        return type_ if strict else None
    if pa.types.is_temporal(type_):
        return TEXT
    if pa.types.is_struct(type_):
        fields = [(field.name, asked) for field in type_ if (asked := read_as(field.type, strict=strict)) is not None]
        return pa.struct(fields) if fields or strict else None
    if pa.types.is_list(type_):
        inner = TEXT if strict and pa.types.is_null(type_.value_type) else read_as(type_.value_type, strict=strict)
        return None if inner is None else pa.list_(inner)
    return type_


def as_made(type_: pa.DataType) -> pa.DataType:
    """Return a type of a file as it is made here: Parquet calls the items of lists otherwise."""
    if pa.types.is_struct(type_):
        return pa.struct([(field.name, as_made(field.type)) for field in type_])
    if pa.types.is_list(type_):
        return pa.list_(as_made(type_.value_type))
    return type_


def _doubtful(type_: pa.DataType) -> bool:
    """
    Whether pyarrow, left to choose this type, may have misread values; asked for it, it reads them well.

    A date becomes a time, and a list that begins with null loses it.
    """
    if pa.types.is_struct(type_):
        return any(_doubtful(field.type) for field in type_)
    return bool(pa.types.is_list(type_) or pa.types.is_timestamp(type_))


def settled(array: pa.Array, known: pa.DataType | None, *, exact: bool) -> pa.Array:
    """
    Return what was read as the narrowest type that holds it and all that was seen before.

    Doubles so large that digits may have been lost are refused, unless they are known to be `exact`.
    """
    is_, type_ = pa.types, array.type
    if known is None or is_.is_null(known):
        known = None
    if array.null_count == len(array):
        return pa.nulls(len(array), known or pa.null())
    if is_.is_struct(type_) and (known is None or is_.is_struct(known)):
        return _settled_struct(array, known, exact=exact)
    if is_.is_list(type_) and (known is None or is_.is_list(known)):
        values = settled(array.values, known and known.value_type, exact=exact)
        mask = array.is_null() if array.null_count else None
        return pa.ListArray.from_arrays(array.offsets, values, mask=mask)
    if type_ == TEXT and (known is None or known == MOMENT):
        try:
            if known is None:
                array.drop_null()[:1].cast(MOMENT)  # a cast that fails at every value is slow
            return array.cast(MOMENT)
        except pa.ArrowInvalid:
            return array
    if is_.is_floating(type_) and known in (None, pa.int64(), type_):
        reach = pc.min_max(array)
        if not exact and max(-(reach["min"].as_py() or 0), reach["max"].as_py() or 0) >= EXACT:
            raise Misfit
        return array
    if is_.is_integer(type_) and known == pa.float64():
        return array.cast(known)
    if known not in (None, type_):
        raise Misfit
    return array


def _settled_struct(array: pa.StructArray, known: pa.StructType | None, *, exact: bool) -> pa.Array:
    seen = {array.type.field(at).name: array.field(at) for at in range(array.type.num_fields)}
    before = {} if known is None else {field.name: field.type for field in known}
    children = {
        name: settled(seen.get(name, pa.nulls(len(array))), before.get(name), exact=exact)
        for name in dict.fromkeys([*before, *seen])
    }
    if not children:  # parquet knows no object without fields
        raise Misfit
    mask = array.is_null() if array.null_count else None
    return pa.StructArray.from_arrays([*children.values()], names=[*children], mask=mask)
