"""Block: what goes in comes out, whole and once, whatever its memory held before."""

from __future__ import annotations

from itertools import chain

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_gofundo.dataset.block import Block


def raw(*texts: str) -> list[msgspec.Raw]:
    return [msgspec.Raw(text.encode()) for text in texts]


@given(
    pages=st.lists(st.lists(st.text("ab", min_size=1, max_size=30), max_size=9), max_size=9),
    most_records=st.integers(1, 7),
    most_bytes=st.integers(1, 60),
)
def test_every_record_is_in_one_block(pages: list[list[str]], most_records: int, most_bytes: int) -> None:
    block, found = Block(most_records, most_bytes), []
    for page in pages:
        records = raw(*page)
        while records:
            records = records[block.take(records) :]
            assert block.is_full or not records
            if block.is_full:
                found.append(bytes(block.lines))
                assert b"".join(bytes(record) + b"\n" for record in block.all()) == found[-1]
                block.clear()
    found.append(bytes(block.lines))

    assert b"".join(found) == b"".join(text.encode() + b"\n" for text in chain(*pages))
    assert all(lines.count(b"\n") <= most_records for lines in found)
    assert all(len(lines[: lines[:-1].rfind(b"\n") + 1]) < most_bytes for lines in found), (
        "full at the first too many"
    )


def test_a_block_may_grow_while_somebody_looks_at_its_lines() -> None:
    block = Block(10, 4)
    block.take(raw("a"))
    seen = block.lines

    block.take(raw("bcdefgh"))

    assert bytes(seen) == b"a\n"
    assert bytes(block.lines) == b"a\nbcdefgh\n"
    assert block.is_full


@pytest.mark.parametrize("taken", [0, 1])
def test_a_block_without_records_holds_nothing(taken: int) -> None:
    block = Block(10, 100)
    block.take(raw("a" * taken)[:taken])
    block.clear()

    assert (block.records, bytes(block.lines), block.all(), block.is_full) == (0, b"", [], False)
