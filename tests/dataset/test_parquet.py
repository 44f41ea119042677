"""Parquet parts: what pyarrow and DuckDB read from them is what was sent, whatever the values look like."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.dataset.manifest import read_manifest
from airflow_provider_gofundo.dataset.parquet import ParquetFormat
from airflow_provider_gofundo.dataset.part import Compression, FileFormat, format_of
from airflow_provider_gofundo.dataset.writer import DatasetWriter
from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoStorageError
from airflow_provider_gofundo.sandbox import Sandbox
from tests.dataset.reader import files, lake
from tests.fixtures import ClientOf, pull

EVERY = [*range(1, 41)]
STAMP = "2024-01-01T03:00:21.000000Z"
HUGE = 123456789012345678901234567890


@dataclass(frozen=True)
class Lake:
    """The parts of a Parquet dataset, in order."""

    files: list[str]

    def sql(self, query: str, *others: Any) -> list[tuple[Any, ...]]:
        """Ask DuckDB, where `parts` is all parts by name of column."""
        with duckdb.connect() as db:
            db.execute("set TimeZone = 'UTC'")
            parts = db.read_parquet(self.files, union_by_name=True)
            db.register("parts", parts)
            return db.execute(query).fetchall()

    def column(self, name: str) -> list[Any]:
        return [row[0] for row in self.sql(f"select {name} from parts order by id")]

    @property
    def schemas(self) -> list[dict[str, str]]:
        return [{field.name: str(field.type) for field in pq.read_schema(file)} for file in self.files]

    @property
    def sizes(self) -> list[int]:
        return [pq.read_metadata(file).num_rows for file in self.files]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for file in self.files for row in pq.ParquetFile(file).read().to_pylist()]

    @property
    def hashes(self) -> list[str]:
        return [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in self.files]


def trust(folder: Path) -> Lake:
    """Take what the manifest names, after checking that it is so."""
    manifest = read_manifest(lake(folder))
    assert manifest
    assert manifest.file_format == "parquet"
    found = Lake([str(folder / part.name) for part in manifest.parts])
    assert found.sizes == [part.records for part in manifest.parts]
    assert found.hashes == [part.sha256 for part in manifest.parts]
    assert [Path(file).stat().st_size for file in found.files] == [part.bytes for part in manifest.parts]
    assert sum(found.sizes) == manifest.records
    return found


def write(
    folder: Path, *lines: str | bytes, block: int = 5_000, block_bytes: int = 2_000_000, per_part: int = 100_000,
    at_once: int = 7, compression: str = "snappy", schema: Mapping[str, str] | None = None,
) -> Lake:  # fmt: skip
    """Write records as a dataset without a list, `at_once` of them a page."""
    writer = DatasetWriter(
        lake(folder),
        file_format=ParquetFormat(compression, schema, block_records=block, block_bytes=block_bytes),
        records_per_part=per_part,
        started=datetime.now(timezone.utc),
    )
    records = [msgspec.Raw(line.encode() if isinstance(line, str) else line) for line in lines]
    try:
        for start in range(0, len(records), at_once):
            writer.write(records[start : start + at_once])
        parts = writer.finish()
    except BaseException:
        writer.discard()
        raise
    assert all(part.records for part in parts)
    found = Lake([str(folder / part.name) for part in parts])
    assert sum(found.sizes) == len(lines)
    return found


def column(*values: Any) -> list[str]:
    """Return records with an id and one column `c`; a str is JSON, None leaves it out."""
    return [f'{{"id":{at}}}' if value is None else f'{{"id":{at},"c":{value}}}' for at, value in enumerate(values)]


def test_a_list_becomes_typed_columns(client: GofundoClient, tmp_path: Path) -> None:
    summary = pull(
        client, "api/donations", lake(tmp_path), file_format="parquet", compression="zstd", records_per_part=15
    )

    found = trust(tmp_path)
    manifest = read_manifest(lake(tmp_path))
    assert manifest
    assert (manifest.file_format, manifest.compression, summary.parts) == ("parquet", "zstd", 3)
    assert [part.name for part in manifest.parts] == [f"{summary.run}-{n:05d}.parquet" for n in (1, 2, 3)]
    assert found.sizes == [15, 15, 10]
    assert found.column("id") == EVERY
    types = {row[0]: row[1] for row in found.sql("describe from parts")}
    assert types == {
        "id": "BIGINT", "project_id": "BIGINT", "donor_name": "VARCHAR", "donor_email": "VARCHAR", "amount": "VARCHAR",
        "fee": "DOUBLE", "currency": "VARCHAR", "anonymous": "BOOLEAN", "status": "VARCHAR",
        "meta": "STRUCT(seq BIGINT, tags VARCHAR[])", "donated_on": "TIMESTAMP WITH TIME ZONE",
        "exported_on": "VARCHAR", "paid_at": "TIMESTAMP WITH TIME ZONE", "created_at": "TIMESTAMP WITH TIME ZONE",
        "updated_at": "TIMESTAMP WITH TIME ZONE",
    }  # fmt: skip


def test_every_value_of_a_list_arrives(sandbox: Sandbox, client: GofundoClient, tmp_path: Path) -> None:
    for name in ("donations", "donors", "actions"):
        folder = tmp_path / name
        pull(client, f"api/{name}", lake(folder), file_format="parquet", records_per_part=11)

        found = trust(folder)
        sent = map(json.loads, sandbox.records[name].texts(range(1, sum(found.sizes) + 1)))
        assert all(same(ours, theirs) for ours, theirs in zip(found.rows, sent, strict=True))


def test_a_list_whose_records_differ_is_read_whole_by_duckdb(client_of: ClientOf, tmp_path: Path) -> None:
    with Sandbox(records=40) as sandbox:
        donations = sandbox.records["donations"]
        donations.change(12, {"project_id": 1.5})
        donations.change(22, {"project_id": "none"})
        donations.change(32, {"exported_on": STAMP, "created_at": "unknown", "anonymous": None})

        pull(client_of(sandbox.url), "api/donations", lake(tmp_path), file_format="parquet", records_per_part=10)

    found = trust(tmp_path)
    assert found.column("id") == EVERY
    values = found.column("project_id")
    assert (float(values[11]), values[21]) == (1.5, "none")
    assert (found.column("exported_on")[31], found.column("created_at")[31]) == (STAMP, "unknown")
    assert found.column("anonymous")[31] is None


def test_an_empty_list_is_a_dataset_without_parts(client: GofundoClient, tmp_path: Path) -> None:
    pull(client, "api/donations", lake(tmp_path), query_params={"status": "nothing has this"}, file_format="parquet")

    assert trust(tmp_path).files == []
    assert set(files(tmp_path)) == {"_manifest.json"}


def test_parquet_replaces_ndjson_and_leftovers_of_both_are_swept(client: GofundoClient, tmp_path: Path) -> None:
    pull(client, "api/donations", lake(tmp_path))
    for suffix in ("ndjson.gz", "parquet"):
        (tmp_path / f"20200101T000000Z-0123abcd-00001.{suffix}").write_bytes(b"killed")
    (tmp_path / "mine.parquet").write_bytes(b"mine")

    pull(client, "api/donations", lake(tmp_path), file_format="parquet")

    found = trust(tmp_path)
    assert set(files(tmp_path)) == {"_manifest.json", "mine.parquet", *(Path(file).name for file in found.files)}


@pytest.mark.parametrize("compression", ["gzip", "zstd", "snappy", "none"])
def test_the_same_records_make_the_same_bytes_however_they_are_paged(
    compression: Compression, client: GofundoClient, tmp_path: Path
) -> None:
    found = []
    for per_page in (3, 40):
        folder = tmp_path / str(per_page)
        pull(
            client, "api/donations", lake(folder), query_params={"per_page": per_page}, file_format="parquet",
            compression=compression, records_per_part=15,
        )  # fmt: skip
        found.append(trust(folder))

    assert found[0].hashes == found[1].hashes
    codec = pq.read_metadata(found[0].files[0]).row_group(0).column(0).compression
    assert codec == ("UNCOMPRESSED" if compression == "none" else compression.upper())


def test_memory_is_bounded_by_blocks_each_a_row_group(tmp_path: Path) -> None:
    found = write(tmp_path, *column(*range(100)), block=30)
    long = write(tmp_path, *column(*[f'"{"x" * 400}"'] * 10), block_bytes=1000)

    def groups(file: str) -> list[int]:
        data = pq.read_metadata(file)
        return [data.row_group(at).num_rows for at in range(data.num_row_groups)]

    assert [groups(file) for file in found.files] == [[30, 30, 30, 10]]
    assert [groups(file) for file in long.files] == [[3, 3, 3, 1]]


def test_a_record_longer_than_a_block_is_one_block(tmp_path: Path) -> None:
    text = "ß" * 3_000_000

    found = write(tmp_path, *column('"a"', f'"{text}"', '"b"'), block_bytes=100_000)

    assert [row["c"] for row in found.rows] == ["a", text, "b"]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (lambda n: f'{{"{n}":1}}', "500 different keys"),
        (lambda n: f'[{{"a":{{"{n}":null}}}}]', "500 different keys"),
        (lambda n: f'{{"c{n % 30}":{{"d{n // 30}":[{n}]}}}}', "500 different keys"),
        (lambda n: json.dumps([{f"q{n % 190}": at} for at in range(300)]), "many different keys"),
        (lambda n: '{"replies":[' * 16 + str(n) + "]}" * 16, "30 levels"),
        (lambda _: "[" * 300 + "]" * 300, "30 levels"),
    ],
)
def test_what_would_make_a_column_without_bounds_is_json_text(
    value: Callable[[int], str], why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = [value(n) for n in range(600)]

    found = write(tmp_path, *column(*values), block=200, per_part=200)

    assert found.schemas[-1]["c"] == "string"
    assert [row["c"] for row in found.rows[400:]] == values[400:]
    assert caplog.text.count(why) == 1


@pytest.mark.parametrize(
    "value",
    [
        """f'{{"{n}":1}}'""",
        """f'{{"c{n % 150}":{{"d{n // 150}":{n}}}}}'""",
        """"[" + ",".join(f'{{"q{(n + at) % 190}":{at}}}' for at in range(60)) + "]\"""",
    ],
)
def test_objects_of_ever_new_keys_cost_little_memory(value: str, tmp_path: Path) -> None:
    code = f"""
import pyarrow
from tests.dataset.test_parquet import column, write, Path
write(Path({str(tmp_path)!r}), *column(*({value} for n in range(10_000))), at_once=160)
print(pyarrow.system_memory_pool().max_memory())
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert int(ended.stdout) < 60_000_000


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (['{"a":1}', "[]", "null", '{"b":[2]}'] * 50, ['{"a":1}', "[]", None, '{"b":[2]}'] * 50),
        (["1234", '"1234 AB"', '"\\u00df"', "1.10"] * 50, ["1234", "1234 AB", "ß", "1.10"] * 50),
        ([str(HUGE), "1", '{"a":1,"a":2}', None] * 50, [str(HUGE), "1", '{"a":1,"a":2}', None] * 50),
    ],
)
@pytest.mark.parametrize("schema", [None, {"c": "string"}])
def test_a_column_that_had_to_become_text_stays_so_in_every_block(
    values: list[str | None], texts: list[str | None], schema: dict[str, str] | None, tmp_path: Path
) -> None:
    found = write(tmp_path, *column(*values), block=4, schema=schema)

    assert [row["c"] for row in found.rows] == texts


def test_one_long_list_is_a_list(tmp_path: Path) -> None:
    value = "[" + "1," * 2_100_000 + "2]"

    found = write(tmp_path, *column(value, "[3]"))

    assert found.schemas[0]["c"] == "list<element: int64>"
    assert found.sql("select len(c) from parts order by id") == [(2_100_001,), (1,)]


def test_as_many_keys_as_objects_have_are_columns(tmp_path: Path) -> None:
    value = json.dumps({f"k{n}": n for n in range(200)})

    found = write(tmp_path, *column(*[value] * 60))

    assert found.rows[59]["c"] == json.loads(value)


@pytest.mark.parametrize("block", [50, 5_000])
def test_records_of_ever_new_fields_are_an_error(block: int, tmp_path: Path) -> None:
    with pytest.raises(
        GofundoStorageError, match=r"more than 2,000 different fields, too many for parquet; use ndjson"
    ):
        write(tmp_path, *(f'{{"{n}":1}}' for n in range(2_001)), block=block)


def test_only_columns_whose_values_come_again_have_a_dictionary(tmp_path: Path) -> None:
    found = write(
        tmp_path,
        *(
            f'{{"id":{n},"status":"{"open" if n % 3 else "paid"}","meta":{{"seq":{n},"tags":["a"]}},"no":null}}'
            for n in range(60)
        ),
        block=30,
    )

    group = pq.read_metadata(found.files[0]).row_group(1)
    columns = [group.column(at) for at in range(group.num_columns)]
    assert {column.path_in_schema: column.has_dictionary_page for column in columns} == {
        "id": False, "status": True, "meta.seq": False, "meta.tags.list.element": True, "no": True,
    }  # fmt: skip


WIDENED = [
    (["1", "1.5"], ["int64", "double"], [1.0, 1.5]),
    (["1.5", "1"], ["double"], [1.5, 1.0]),
    (["1", '"x"'], ["int64", "string"], ["1", "x"]),
    (['"x"', "1"], ["string"], ["x", "1"]),
    (["1.5", '"x"'], ["double", "string"], ["1.5", "x"]),
    (["true", "1"], ["bool", "string"], ["true", "1"]),
    (["1", "true"], ["int64", "string"], ["1", "true"]),
    ([f'"{STAMP}"', '"soon"'], ["timestamp[us, tz=UTC]", "string"], ["2024-01-01 03:00:21+00", "soon"]),
    (['"soon"', f'"{STAMP}"'], ["string"], ["soon", STAMP]),
    ([f'"{STAMP}"', "null", "5"], ["timestamp[us, tz=UTC]", "string"], ["2024-01-01 03:00:21+00", None, "5"]),
    (["null", "1"], ["null", "int64"], [None, 1]),
    (["null", '{"a":1}'], ["null", "struct<a: int64>"], [None, {"a": 1}]),
    ([None, "1", None], [None, "int64"], [None, 1, None]),
    (["1", None, "null", "2"], ["int64"], [1, None, None, 2]),
    (['{"a":1}', '{"b":"x"}'], ["struct<a: int64>", "struct<a: int64, b: string>"],
     [{"a": 1, "b": None}, {"a": None, "b": "x"}]),
    (['{"a":1}', '{"a":1.5}'], ["struct<a: int64>", "struct<a: double>"], [{"a": 1.0}, {"a": 1.5}]),
    (['{"a":null}', "{}", '{"a":{"b":true}}'], ["struct<a: null>", "struct<a: struct<b: bool>>"],
     [{"a": None}, {"a": None}, {"a": {"b": True}}]),
    (["[]", "[1]", "[1.5]", "[]"], ["list<element: null>", "list<element: int64>", "list<element: double>"],
     [[], [1.0], [1.5], []]),
    (["[null,1]", "[null]", "[null,null,2]"], ["list<element: int64>"], [[None, 1], [None], [None, None, 2]]),
    (["[null,null]", "[null]", "[1,null]"], ["list<element: null>", "list<element: int64>"],
     [[None, None], [None], [1, None]]),
    (['{"a":[null,null]}', '{"a":["x"]}'],
     ["struct<a: list<element: null>>", "struct<a: list<element: string>>"], [{"a": [None, None]}, {"a": ["x"]}]),
    (['[{"a":1}]', "[]", '[{"b":[2]}]'],
     ["list<element: struct<a: int64>>", "list<element: struct<a: int64, b: list<element: int64>>>"],
     [[{"a": 1, "b": None}], [], [{"a": None, "b": [2]}]]),
    ([str(HUGE), "1"], ["string"], [str(HUGE), "1"]),
    (["1", str(HUGE)], ["int64", "string"], ["1", str(HUGE)]),
    (["9007199254740993"], ["int64"], [2**53 + 1]),
    (["1e400", "1"], ["string"], ["1e400", "1"]),
    (["{}", '{"a":1}'], ["string"], ["{}", '{"a":1}']),
    (['{"a":1,"a":2}'], ["string"], ['{"a":1,"a":2}']),
    ([r'"\u00df\ud83d\ude00\n\"\/"'], ["string"], ['ß😀\n"/']),
    (['"2024-01-01"', '"2024-01-01 10:00:00"'], ["string"], ["2024-01-01", "2024-01-01 10:00:00"]),
    ([f'["{STAMP}"]', '["x"]'], ["list<element: timestamp[us, tz=UTC]>", "list<element: string>"],
     [["2024-01-01 03:00:21+00"], ["x"]]),
]  # fmt: skip


@pytest.mark.parametrize(("values", "types", "read"), WIDENED)
def test_duckdb_reads_a_column_that_widens_over_the_parts(
    values: list[str], types: list[str | None], read: list[Any], tmp_path: Path
) -> None:
    found = write(tmp_path, *column(*values), block=1)

    assert [schema.get("c") for schema in found.schemas] == types
    assert hollow(found.column("c")) == hollow(read)


def hollow(value: Any) -> Any:
    """Null for an object of nothing but nulls: as such DuckDB before 2.0 reads a null that became an object."""
    if isinstance(value, list):
        return [hollow(item) for item in value]
    if isinstance(value, dict):
        inner = {name: hollow(item) for name, item in value.items()}
        return inner if any(item is not None for item in inner.values()) else None
    return value


@pytest.mark.parametrize(
    ("values", "type_", "read"),
    [
        (["1", '"x"', "null", "true", '{"a": 1.10}', "[1, 2]"], "string", ["1", "x", None, "true", '{"a": 1.10}', "[1, 2]"]),
        (["1", "1.5"], "double", [1.0, 1.5]),
        (["1", str(HUGE)], "string", ["1", str(HUGE)]),
        ([str(HUGE), "1.5", '"x"'], "string", [str(HUGE), "1.5", "x"]),
        (["9007199254740993", "1.5"], "string", ["9007199254740993", "1.5"]),
        (["1e22", "7", "-1e300"], "double", [1e22, 7.0, -1e300]),
        (["1e22", str(2**64)], "string", ["1e22", str(2**64)]),
        (["[1]", "{}"], "string", ["[1]", "{}"]),
        ([f"[{HUGE}]", "null"], "string", [f"[{HUGE}]", None]),
        (['"2024-01-01T05:00:00+02:00"', '"2024-01-01T03:00:00.5Z"'], "timestamp[us, tz=UTC]",
         [datetime(2024, 1, 1, 3, tzinfo=timezone.utc), datetime(2024, 1, 1, 3, 0, 0, 500000, tzinfo=timezone.utc)]),
        ([f'"{STAMP}"', '"2024-01-01T03:00:21.1234567Z"'], "string", [STAMP, "2024-01-01T03:00:21.1234567Z"]),
        ([f'"{STAMP}"', '"0000-00-00T00:00:00Z"'], "string", [STAMP, "0000-00-00T00:00:00Z"]),
    ],
)  # fmt: skip
def test_values_of_several_kinds_in_one_block_share_one_type(
    values: list[str], type_: str, read: list[Any], tmp_path: Path
) -> None:
    found = write(tmp_path, *column(*values))

    assert [schema["c"] for schema in found.schemas] == [type_]
    assert [row["c"] for row in found.rows] == read


def test_of_a_key_that_comes_twice_the_last_value_counts_as_in_python(tmp_path: Path) -> None:
    found = write(tmp_path, '{"id":0,"c":1,"c":"x","c":2}', '{"id":1,"c":3}')

    assert found.column("c") == [2, 3]


def test_what_waits_at_the_end_and_does_not_fit_gets_a_part_of_its_own(tmp_path: Path) -> None:
    found = write(tmp_path, *column("1", "2", '"x"'), block=2)

    assert found.sizes == [2, 1]
    assert found.column("c") == ["1", "2", "x"]


def test_parts_agree_as_soon_as_the_widest_type_is_known(tmp_path: Path) -> None:
    found = write(tmp_path, *column("1", "2.5", "3", "4", "5", "6"), per_part=2, block=1)

    assert [schema["c"] for schema in found.schemas] == ["int64", "double", "double", "double"]
    assert found.sizes == [1, 2, 2, 1]


def test_the_schema_of_the_last_part_reads_them_all_in_pyarrow(tmp_path: Path) -> None:
    found = write(tmp_path, *column("null", "1", "2.5", '"x"'), '{"id":4,"d":{"a":1}}', block=1)

    table = pyarrow.dataset.dataset(found.files, schema=pq.read_schema(found.files[-1])).to_table()

    assert table.column("c").to_pylist() == [None, "1", "2.5", "x", None]
    assert table.column("d").to_pylist() == [None, None, None, None, {"a": 1}]


def test_objects_and_text_in_one_column_need_a_schema_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = column('{"a":1}', "[]", '{"a":2}')

    mixed = write(tmp_path, *records, block=1)

    assert [row["c"] for row in mixed.rows] == [{"a": 1}, "[]", '{"a":2}']
    assert "column c holds values of several kinds" in caplog.text
    assert 'schema={"c": "string"}' in caplog.text

    caplog.clear()
    text = write(tmp_path, *records, block=1, schema={"c": "string"})

    assert text.column("c") == ['{"a":1}', "[]", '{"a":2}']
    assert len(text.files) == 1
    assert caplog.text == ""


def test_money_is_what_the_schema_says_it_is(client: GofundoClient, tmp_path: Path) -> None:
    pull(
        client, "api/donations", lake(tmp_path), file_format="parquet",
        schema={"amount": "decimal128(12, 2)", "fee": "decimal(12, 2)", "exported_on": "date32", "id": "string"},
    )  # fmt: skip

    found = trust(tmp_path)
    types = {row[0]: row[1] for row in found.sql("describe from parts")}
    assert [types[name] for name in ("amount", "fee", "exported_on", "id")] == [
        "DECIMAL(12,2)", "DECIMAL(12,2)", "DATE", "VARCHAR",
    ]  # fmt: skip
    first = found.rows[0]
    assert (first["amount"], first["fee"], first["id"]) == (Decimal("79.19"), Decimal("0.13"), "1")
    assert first["exported_on"].isoformat() == "2024-01-01"


@pytest.mark.parametrize(
    ("type_", "values", "read"),
    [
        ("decimal128(38, 0)", [str(HUGE), f'"{HUGE}"', "null"], [Decimal(HUGE), Decimal(HUGE), None]),
        ("decimal128(12, 2)", ['"1.10"', "1.1", "7"], [Decimal("1.10"), Decimal("1.10"), Decimal("7.00")]),
        ("timestamp[us]", ['"2024-01-01 03:00:21"'], [datetime(2024, 1, 1, 3, 0, 21)]),
        ("timestamp[ms, tz=UTC]", ['"2024-01-01T03:00:21Z"'], [datetime(2024, 1, 1, 3, 0, 21, tzinfo=timezone.utc)]),
        ("int32", ["5", "null"], [5, None]),
        ("double", ["5", "9007199254740993"], [5.0, 2.0**53]),
        ("bool", ["true", None], [True, None]),
        (" string ", ["true", '"x"', "1.10"], ["true", "x", "1.10"]),
    ],
)
def test_a_declared_type_is_the_type(type_: str, values: list[Any], read: list[Any], tmp_path: Path) -> None:
    found = write(tmp_path, *column(*values), schema={"c": type_})

    assert [row["c"] for row in found.rows] == read


def test_a_declared_column_is_there_even_where_no_record_has_it(tmp_path: Path) -> None:
    found = write(tmp_path, '{"id":1}', schema={"paid_at": "timestamp[us, tz=UTC]"})

    assert found.schemas == [{"paid_at": "timestamp[us, tz=UTC]", "id": "int64"}]


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("decimal128(12, 2)", '"1.101"'), ("decimal128(4, 2)", "12345.00"), ("decimal128(12, 2)", '"secret"'),
        ("int64", '"12"'), ("int64", "1.5"), ("int8", "300"), ("int64", str(HUGE)), ("bool", "1"), ("double", '"1.5"'),
        ("timestamp[us, tz=UTC]", '"2024-01-01 10:00:00"'), ("timestamp[us]", f'"{STAMP}"'),
        ("timestamp[s, tz=UTC]", '"2024-01-01T03:00:21.5Z"'), ("timestamp[us, tz=UTC]", "5"),
        ("date32", f'"{STAMP}"'), ("int64", '{"a":1}'),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_its_declared_type_is_an_error_that_names_the_column_only(
    type_: str, value: str, tmp_path: Path
) -> None:
    with pytest.raises(GofundoConfigError) as caught:
        write(tmp_path, *column("null", value), schema={"c": type_})

    assert str(caught.value).startswith("column c: a value does not fit")
    assert value.strip('"') not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    ("type_", "value", "advice"),
    [
        ("timestamp[us]", f'"{STAMP}"', "Times with a zone need timestamp[us, tz=UTC]"),
        ("int64", '"79.19"', "Fractions need double or a decimal"),
        ("decimal128(4, 2)", '"1000.00"', "It may need more digits"),
        ("bool", "7", "Give it another type, or string"),
    ],
)
def test_what_would_fit_is_told(type_: str, value: str, advice: str, tmp_path: Path) -> None:
    with pytest.raises(GofundoConfigError, match="column c") as caught:
        write(tmp_path, *column(value), schema={"c": type_})

    assert advice in str(caught.value)


def test_a_column_that_no_record_has_is_told(
    client: GofundoClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    schema = {"amount": "decimal128(12, 2)", "amont": "decimal128(12, 2)", "meta.seq": "int32"}

    pull(client, "api/donations", lake(tmp_path), file_format="parquet", schema=schema)

    (told,) = [line.getMessage() for line in caplog.records if "schema:" in line.getMessage()]
    assert "no record has a value in 'amont', 'meta.seq';" in told
    caplog.clear()
    pull(
        client, "api/donations", lake(tmp_path), file_format="parquet", schema=schema, query_params={"status": "none"}
    )
    assert "schema:" not in caplog.text


def test_what_was_there_stays_when_a_value_does_not_fit(client: GofundoClient, tmp_path: Path) -> None:
    pull(client, "api/donations", lake(tmp_path), file_format="parquet")
    before = files(tmp_path)

    with pytest.raises(GofundoConfigError, match="column donor_name"):
        pull(client, "api/donations", lake(tmp_path), file_format="parquet", schema={"donor_name": "int64"})

    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"id":1,"c":"\xff"}', "column c: a text is not valid Unicode"),
        (b'{"id":1,"\xff":1}', "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b"5", "not a JSON object"),
        (b"{}", "without any field"),
    ],
)
def test_what_parquet_cannot_hold_is_an_error(line: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(GofundoStorageError, match=says):
        write(tmp_path, line)

    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"file_format": "csv"}, "file_format must be ndjson or parquet"),
        ({"file_format": "parquet", "compression": "zip"}, "compression must be gzip, zstd, snappy or none"),
        ({"compression": "zstd"}, "compression must be gzip or none"),
        ({"schema": {"id": "int64"}}, "schema needs file_format parquet"),
        ({"file_format": "parquet", "schema": {"id": "number"}}, "schema: column id has an unknown type"),
        ({"file_format": "parquet", "schema": {"id": "decimal128(50, 2)"}}, "column id"),
        ({"file_format": "parquet", "schema": {"id": "decimal128"}}, "column id"),
        ({"file_format": "parquet", "schema": {"id": "timestamp[day]"}}, "column id"),
        ({"file_format": "parquet", "schema": {"id": "timestamp[us, tz=Nowhere/Atall]"}}, "column id"),
        ({"file_format": "parquet", "schema": {"id": "binary"}}, "column id"),
        ({"file_format": "parquet", "schema": {"id": "float16"}}, "column id"),
        ({"file_format": "parquet", "schema": {"id": None}}, "column id"),
    ],
)
def test_a_wrong_format_is_refused_before_anything_is_sent(
    arguments: dict[str, Any], says: str, sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    with pytest.raises(GofundoConfigError, match=says):
        pull(client, "api/donations", lake(tmp_path), **arguments)

    assert sandbox.requests == ()
    assert files(tmp_path) == {}


def test_without_pyarrow_only_parquet_is_missing_and_says_what_to_install() -> None:
    script = """
import sys
sys.modules["pyarrow"] = None
from airflow_provider_gofundo.dataset.part import format_of
print(format_of("ndjson", "gzip").suffix)
try:
    format_of("parquet", "gzip")
except ValueError as error:
    print(error)
"""

    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout

    assert said.splitlines() == [
        ".ndjson.gz",
        "file_format parquet needs pyarrow: install this provider with its extra parquet, or pip install pyarrow.",
    ]


def test_pyarrow_is_imported_only_for_parquet() -> None:
    script = """
import sys
import airflow_provider_gofundo.dataset.pull
from airflow_provider_gofundo.dataset.part import format_of
format_of("ndjson", "gzip")
print("pyarrow" in sys.modules)
format_of("parquet", "gzip")
print("pyarrow" in sys.modules)
"""

    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout

    assert said.split() == ["False", "True"]


@pytest.mark.parametrize(
    ("file_format", "compression"), [("ndjson", "gzip"), ("ndjson", "none"), ("parquet", "snappy")]
)
def test_one_field_of_every_record_is_read_back(file_format: FileFormat, compression: str, tmp_path: Path) -> None:
    written = format_of(file_format, compression)
    with (tmp_path / "part").open("wb") as file:
        part = written.part("part", file)
        lines = [
            '{"id":1,"a.b":{"id":9},"name":"ß"}', '{"name":"\\u00df"}', '{"a.b":null,"id":null}', '{"id":4,"name":null}'
        ]  # fmt: skip
        part.write([msgspec.Raw(line.encode()) for line in lines])
        part.flush()
        part.close()

    def keys(field: str) -> list[Any]:
        with (tmp_path / "part").open("rb") as file:
            return [*written.keys(file, field)]

    assert keys("id") == [1, None, None, 4]
    assert keys("name") == ["ß", "ß", None, None]
    assert keys("a.b") == [{"id": 9}, None, None, None]
    assert keys("not there") == [None] * 4


def same(found: Any, sent: Any) -> bool:
    """Whether what was read is what was sent, possibly as a wider type or as text."""
    if isinstance(found, datetime):
        return isinstance(sent, str) and msgspec.convert(sent, datetime) == found
    if isinstance(found, str) and not isinstance(sent, str):
        return sent is not None and same(json.loads(found), sent)
    if isinstance(found, dict) and isinstance(sent, dict):
        return sent.keys() <= found.keys() and all(same(value, sent.get(key)) for key, value in found.items())
    if isinstance(found, list) and isinstance(sent, list):
        return len(found) == len(sent) and all(map(same, found, sent))
    return isinstance(found, bool) == isinstance(sent, bool) and bool(found == sent)


SCALARS = (
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from([2**53 + 1, 2**63 - 1, 2**63, -HUGE])
    | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([STAMP, "2024-01-01T05:00:00+02:00", "2024-01-01"])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
)  # fmt: skip
KINDS = [
    st.none() | st.integers(-5, 5), st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.sampled_from([STAMP, "2024-05-01T05:00:00.5Z"]), SCALARS,
]  # fmt: skip
NESTED = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=6,
)


def lists_of(values: Sequence[st.SearchStrategy[Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Return lists of records, whose columns each hold values of one of these kinds."""
    one_kind_each = st.tuples(*[st.sampled_from(values)] * 3)
    return one_kind_each.flatmap(
        lambda kinds: st.lists(
            st.fixed_dictionaries({}, optional=dict(zip("abc", kinds, strict=True))), min_size=1, max_size=25
        )
    )


@settings(max_examples=150, deadline=None)
@given(records=lists_of([*KINDS, NESTED, NESTED]), block=st.integers(1, 9), per_part=st.integers(1, 30))
def test_any_records_come_back(records: list[dict[str, Any]], block: int, per_part: int) -> None:
    lines = [json.dumps({"id": at, **record}) for at, record in enumerate(records)]

    with tempfile.TemporaryDirectory() as folder, quiet():
        found = write(Path(folder), *lines, block=block, per_part=per_part).rows

    assert [row["id"] for row in found] == [*range(len(records))]
    for row, record in zip(found, records, strict=True):
        assert same({name: value for name, value in row.items() if name != "id"}, record)


@settings(max_examples=100, deadline=None)
@given(records=lists_of(KINDS), block=st.integers(1, 9), per_part=st.integers(1, 30))
def test_any_flat_records_come_back_from_duckdb_as_text(
    records: list[dict[str, Any]], block: int, per_part: int
) -> None:
    lines = [json.dumps({"id": at, "a": None, "b": None, "c": None, **record}) for at, record in enumerate(records)]

    with tempfile.TemporaryDirectory() as folder:
        found = write(Path(folder), *lines, block=block, per_part=per_part).sql(
            "select id, a::varchar, b::varchar, c::varchar from parts order by id"
        )

    assert [row[0] for row in found] == [*range(len(records))]
    # Where one part holds whole numbers and another fractions, DuckDB makes doubles of all of them.
    doubles = {name for name in "abc" if any(isinstance(record.get(name), float) for record in records)}
    for row, record in zip(found, records, strict=True):
        for text, name in zip(row[1:], "abc", strict=True):
            sent = record.get(name)
            assert same_text(text, float(sent) if name in doubles and type(sent) is int else sent), (text, sent)


def same_text(text: str | None, sent: Any) -> bool:
    if text is None or sent is None:
        return text is sent
    if isinstance(sent, bool):
        return text == str(sent).lower()
    if isinstance(sent, float):
        return float(text) == sent
    if isinstance(sent, int):
        return Decimal(text) == sent
    return text == sent or msgspec.convert(text + ":00", datetime) == msgspec.convert(sent, datetime)


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


class quiet:  # noqa: N801  # reads as a statement
    """A property test meets the same warning thousands of times."""

    def __enter__(self) -> None:
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(logging.NOTSET)
