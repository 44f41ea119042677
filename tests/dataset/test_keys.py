"""Which records have been seen: exactly, in order, and in little memory."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from airflow_provider_gofundo.dataset.keys import KeySet, Once, field_reader, is_field_name, key_of
from airflow_provider_gofundo.exceptions import GofundoResponseError

KEYS = st.integers(min_value=1, max_value=2**64 - 1)


@settings(max_examples=200, deadline=None)
@given(st.lists(KEYS | st.integers(min_value=1, max_value=50), max_size=2_000))
def test_a_key_set_says_what_a_set_would_say(keys: list[int]) -> None:
    some, plain = KeySet(), set[int]()

    for key in keys:
        assert some.add(key) == (key not in plain)
        plain.add(key)

    assert len(some) == len(plain)


@pytest.mark.parametrize("kind", ["ascending", "far apart", "random"])
def test_a_key_set_says_what_a_set_would_say_while_it_grows(kind: str) -> None:
    chance = random.Random(7)
    keys = {
        "ascending": [*range(1, 20_001)],
        "far apart": [number << 40 for number in range(1, 20_001)],
        "random": [chance.getrandbits(64) or 1 for _ in range(20_000)],
    }[kind]
    some = KeySet()

    assert all(some.add(key) for key in keys)
    assert not any(some.add(key) for key in keys)
    assert len(some) == len(set(keys))


def test_a_key_takes_16_bytes_at_most() -> None:
    some = KeySet()

    for number in range(1, 100_001):
        some.add(number)
        assert number < 1_000 or some.bytes <= 16 * number


@pytest.mark.parametrize("start", [1, 2**63])
def test_what_a_growing_set_has_twice_meanwhile_is_a_small_part_of_it(start: int) -> None:
    some = KeySet()
    for number in range(100_000):
        some.add(start + number)

    assert max(len(table) for table in some._tables) * 8 < some.bytes / 32


@pytest.mark.parametrize("keys", [["a", "b"], [1, "b"], [2**63, 2**63 + 1]])
def test_digests_have_no_order_that_is_told(keys: list[Any]) -> None:
    once = Once("id")
    in_order(once, *keys)

    assert once.order is None


@pytest.mark.parametrize("value", [0, 1, 17, 2**63 - 2])
def test_whole_numbers_are_their_own_keys(value: int) -> None:
    assert key_of(value) == value + 1


@pytest.mark.parametrize("value", [0, 1, 17, 999_999_999_999_999_999, -1, 1.5, 10**30])
def test_a_number_as_text_has_the_key_of_the_number(value: float) -> None:
    assert key_of(msgspec.json.encode(value).decode()) == key_of(value)


@settings(max_examples=300, deadline=None)
@given(
    st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.lists(st.integers(min_value=0, max_value=9))
)
def test_every_value_but_null_has_a_key_of_64_bits(value: Any) -> None:
    key = key_of(value)

    assert key is not None
    assert 0 < key < 2**64
    assert key == key_of(value)


def test_values_that_differ_have_keys_that_differ() -> None:
    values = [
        1, 2, -1, -2, 2**63 - 2, 2**63 - 1, 2**63, 2**64, 10**30, 1.5, True, False, "01", "+1", " 1", "x", "X", "١", "",
        [1], [2], {"a": 1}, "2f6b0c1e-0000-4000-8000-000000000001",
        "2f6b0c1e-0000-4000-8000-000000000002", "\ud800",
    ]  # fmt: skip

    assert len({key_of(value) for value in values}) == len(values)


def test_null_has_no_key() -> None:
    assert key_of(None) is None


@pytest.mark.parametrize(
    ("record", "value"),
    [
        (b'{"id":7,"name":"x"}', 7),
        (b'{"name":"x","id":"u-7"}', "u-7"),
        (b'{"name":"x"}', None),
        (b'{"id":null}', None),
        (b'{"inner":{"id":1}}', None),
        (b'{"id":1,"id":2}', 2),
        (b'{"amount":1e999,"id":123456789012345678901234567890}', 123456789012345678901234567890),
    ],
)
def test_one_field_is_read_and_no_other(record: bytes, value: Any) -> None:
    assert field_reader("id")(record) == value


@pytest.mark.parametrize("name", ["id", "order id", "größe", "a.b", "from", "_x", "\u2028"])
def test_a_field_of_any_name_can_be_read(name: str) -> None:
    assert is_field_name(name)
    assert field_reader(name)(msgspec.json.encode({"x": 1, name: 2})) == 2


@pytest.mark.parametrize("name", ["", 'a"b', "a\\b", "a\nb", 7])
def test_a_name_that_json_escapes_is_none_that_can_be_read(name: object) -> None:
    assert not is_field_name(name)


# --- each record once ------------------------------------------------------------------------------------------


def page(*ids: Any) -> list[Raw]:
    return [Raw(msgspec.json.encode({"name": f"n{n}", "id": id_})) for n, id_ in enumerate(ids)]


def ids_of(records: list[Raw]) -> list[Any]:
    return [msgspec.json.decode(record)["id"] for record in records]


def through(once: Once, *ids: Any) -> list[Any]:
    records = page(*ids)
    return ids_of(once.new(records, once.keys(records)))


def in_order(once: Once, *ids: Any) -> bool:
    return once.in_order(once.keys(page(*ids)))


@pytest.mark.parametrize("way", [1, -1])
def test_as_long_as_keys_only_rise_or_only_fall_none_has_come_before(way: int) -> None:
    once = Once("id")
    for first in range(100, 150, 5):
        assert in_order(once, *(way * id_ % 1_000 for id_ in range(first, first + 5)))

    assert in_order(once)
    assert in_order(once, None, way * 150 % 1_000, None)
    for came in (150, 149, 100):
        assert not in_order(once, way * came % 1_000, way * 151 % 1_000)
    assert in_order(once, way * 151 % 1_000)


@pytest.mark.parametrize("ids", [(1, 2, 1), (1, 1), (3, 1, 2), (1, 2, 2), ("u-1", "u-2", "u-3", "u-4", "u-5", "u-6")])
def test_keys_of_one_page_may_be_out_of_order(ids: tuple[Any, ...]) -> None:
    assert not in_order(Once("id"), *ids)


@pytest.mark.parametrize("ids", [(1, 2), (2, 1), (1,), (), (None, 5, 6), ("1", "2", "10")])
def test_keys_of_one_page_may_be_in_order(ids: tuple[Any, ...]) -> None:
    assert in_order(Once("id"), *ids)


def test_once_it_remembers_each_record_comes_through_once() -> None:
    once = Once("id")
    through(once, 1, 2)
    assert not once.remembers

    once.remember([1, 2, 8])

    assert once.remembers
    assert through(once, 2, 3, 3, 8, 9) == [3, 9]
    assert once.twice == 3
    assert through(once, 1, 2, 3, 8, 9) == []


def test_keys_may_be_remembered_in_several_goes() -> None:
    once = Once("id")
    for values in ([1, 2], [3], ["u-1"]):
        once.remember(values)

    assert through(once, 1, 2, 3, 4, "u-1", "u-2") == [4, "u-2"]


def test_records_without_a_key_all_come_through_and_are_counted() -> None:
    once = Once("id")
    assert through(once, None, 1, None) == [None, 1, None]
    assert not once.can_tell
    once.remember([None, 1])

    assert through(once, None, 1, None, 2) == [None, None, 2]
    assert (once.keyless, once.twice) == (4, 1)


def test_without_a_field_everything_comes_through() -> None:
    once = Once(None)

    assert through(once, 1, 1) == [1, 1]
    assert in_order(once, 1, 1)
    assert once.can_tell


def test_keys_that_are_not_found_again_where_they_were_written_cannot_be_told() -> None:
    once = Once("id")
    assert in_order(once, "2024-01-01T00:00:00Z")
    assert once.can_tell

    once.remember(["2024-01-01 00:00:00+00:00"])

    assert not once.can_tell


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(min_value=0, max_value=40), max_size=6), max_size=20), st.integers(0, 19))
def test_each_key_comes_once_from_the_moment_it_remembers(pages: list[list[int]], moment: int) -> None:
    once, written = Once("id"), list[int]()

    for number, ids in enumerate(pages):
        if number == moment:
            once.remember(written)
            once_from = len(written)
        written += through(once, *ids)

    if len(pages) > moment:
        after = written[once_from:]
        assert len(set(after)) == len(after)
        assert set(after).isdisjoint(written[:once_from])
        assert set(written) == {id_ for ids in pages for id_ in ids}


@pytest.mark.parametrize("record", [b'{"id":1e999}', b'{"id":[}'])
def test_a_key_that_cannot_be_read_is_an_error_of_ours_that_does_not_show_it(record: bytes) -> None:
    with pytest.raises(GofundoResponseError, match="The id of some record cannot be read"):
        Once("id").keys([Raw(b'{"id":1}'), Raw(record)])
    with pytest.raises(GofundoResponseError, match="The id of some record cannot be read"):
        field_reader("id")(record)
