"""What pyarrow's JSON reader makes of records, and the types that its columns settle on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

MOMENT = pa.timestamp("us", tz="UTC")
TEXT = pa.string()

# From here on a double no longer holds every integer.
EXACT = 2.0**53

REFUSED = (pa.ArrowInvalid, pa.ArrowNotImplementedError)


class Misfit(Exception):
    """Not an error: values and the type they would get do not go together, and the next way is tried."""


def parse(data: bytes | memoryview, types: Mapping[str, pa.DataType]) -> pa.Table:
    fields = [(name, asked) for name, type_ in types.items() if (asked := read_as(type_)) is not None]
    return pyarrow.json.read_json(
        pa.BufferReader(data),
        # One block, so that no record is too long for it, and its types are those of all of its records.
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=pa.schema(fields)),
        # Others give memory back after a block and get it anew for the next, which is 5 % of a pull's CPU.
        memory_pool=pa.system_memory_pool(),
    )


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


def read_as(type_: pa.DataType | None) -> pa.DataType | None:
    """
    Return what to ask pyarrow's JSON reader for; None leaves it the choice, where nothing but null was seen.

    Times are read as text and cast after: pyarrow takes dates and times without a zone for UTC.
    """
    if type_ is None or pa.types.is_null(type_):
        return None
    if pa.types.is_temporal(type_):
        return TEXT
    if pa.types.is_struct(type_):
        fields = [(field.name, asked) for field in type_ if (asked := read_as(field.type)) is not None]
        return pa.struct(fields) if fields else None
    if pa.types.is_list(type_):
        inner = read_as(type_.value_type)
        return None if inner is None else pa.list_(inner)
    return type_


def doubtful(type_: pa.DataType) -> bool:
    """
    Whether pyarrow, left to choose this type, may have misread values; asked for it, it reads them well.

    A date becomes a time, and a list that begins with null loses it (github.com/apache/arrow/issues/51305).
    """
    if pa.types.is_list(type_) and not pa.types.is_null(type_.value_type):
        return True
    if pa.types.is_struct(type_):
        return any(doubtful(field.type) for field in type_)
    return bool(pa.types.is_timestamp(type_))


def settled(array: pa.Array, known: pa.DataType | None, *, exact: bool) -> pa.Array:
    """
    Return what was read as the narrowest type that holds it and all that was seen before.

    Doubles so large that digits may have been lost are refused, unless they are known to be `exact`.
    """
    is_, type_ = pa.types, array.type
    if known is None or is_.is_null(known):
        known = None
    if is_.is_null(type_):
        return pa.nulls(len(array), known or type_)
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
        for name in [*before, *(name for name in seen if name not in before)]
    }
    if not children:  # parquet knows no object without fields
        raise Misfit
    mask = array.is_null() if array.null_count else None
    return pa.StructArray.from_arrays([*children.values()], names=[*children], mask=mask)
