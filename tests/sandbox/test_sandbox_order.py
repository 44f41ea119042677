"""Oldest or newest first: the order of a list, page by page, whatever has changed in it."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.sandbox.fields import START
from airflow_provider_gofundo.sandbox.records import Selection
from airflow_provider_gofundo.sandbox.shapes import SHAPES

Get = Callable[..., requests.Response]
SORTS = ("id", "-id", "updated_at", "-updated_at")
CURSORS = ("cursor-paginate", "cursor-paginate-resource")
LATE = 1_800_000_000


def walk(get: Get, sandbox: Sandbox, path: str, direction: str = "next", **query: Any) -> Iterator[dict[str, Any]]:
    """Page after page along the links of one direction."""
    for _ in range(100):
        page = get(sandbox, path, **query).json()
        yield page
        links = page["links"] if isinstance(page.get("links"), dict) else page
        link = links.get(direction, links.get(f"{direction}_page_url"))
        if link is None:
            return
        query |= {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    raise AssertionError("the list has no end")


def ids(page: Any) -> list[int]:
    records = page.get("data", page) if isinstance(page, dict) else page
    return [record["id"] for record in (records.values() if isinstance(records, dict) else records)]


def disturb(sandbox: Sandbox) -> None:
    """New records, some of them with old times; touched ones, with equal times; removed ones of every kind."""
    sandbox.records_insert("donations", 4, at=LATE)
    sandbox.records_insert("donations", 3, at=START + 20_000)
    sandbox.records_touch("donations", [9, 2, 14, 3, 25], at=LATE)
    sandbox.records_touch("donations", [14], at=START)
    sandbox.records_delete("donations", [1, 5, 6, 9, 22, 27])


def expected(sandbox: Sandbox, sort: str) -> list[int]:
    records = sandbox.records["donations"]
    alive = [i for i in range(1, 28) if i in records]
    return sorted(
        alive, key=lambda i: (records.updated(i) if "updated" in sort else 0, i), reverse=sort.startswith("-")
    )


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_keeps_the_order_asked_for(shape: str, sort: str, fresh: Sandbox, get: Get) -> None:
    disturb(fresh)
    order = expected(fresh, sort)
    assert len(order) == 21
    path = f"/api/{shape}/donations"
    if "paginate" in shape:
        assert [i for page in walk(get, fresh, path, per_page=4, sort=sort) for i in ids(page)] == order
    else:
        assert ids(get(fresh, path, sort=sort).json()) == (order[1::2] if shape == "keyed" else order)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("shape", CURSORS)
def test_a_cursor_leads_back_in_the_same_order(shape: str, sort: str, fresh: Sandbox, get: Get) -> None:
    disturb(fresh)
    path = f"/api/{shape}/donations"
    forth = list(walk(get, fresh, path, per_page=4, sort=sort))
    links = forth[-1].get("links", forth[-1])
    cursor = parse_qs(urlsplit(links.get("prev") or links["prev_page_url"]).query)["cursor"][0]
    back = list(walk(get, fresh, path, "prev", per_page=4, sort=sort, cursor=cursor))
    assert [ids(page) for page in back] == [ids(page) for page in forth[-2::-1]]


def test_a_cursor_from_the_newest_on_does_not_see_what_comes_later(fresh: Sandbox, get: Get) -> None:
    path = "/api/cursor-paginate/donations"
    first = get(fresh, path, per_page=5, sort="-id").json()
    assert (ids(first), first["prev_page_url"]) == ([20, 19, 18, 17, 16], None)
    fresh.records_insert("donations", 2)
    fresh.records_delete("donations", [16, 14])
    cursor = parse_qs(urlsplit(first["next_page_url"]).query)["cursor"][0]
    second = get(fresh, path, per_page=5, sort="-id", cursor=cursor).json()
    assert ids(second) == [15, 13, 12, 11, 10]
    cursor = parse_qs(urlsplit(second["prev_page_url"]).query)["cursor"][0]
    again = get(fresh, path, per_page=5, sort="-id", cursor=cursor).json()
    assert ids(again) == [21, 20, 19, 18, 17]
    assert again["prev_page_url"] is not None


def test_new_records_push_the_others_to_later_pages_when_the_newest_come_first(fresh: Sandbox, get: Get) -> None:
    def page(number: int) -> list[int]:
        return ids(get(fresh, "/api/donations", per_page=5, page=number, sort="-updated_at").json())

    assert page(1) == [20, 19, 18, 17, 16]
    fresh.records_insert("donations", 2, at=LATE - 1)
    assert page(2) == [17, 16, 15, 14, 13]
    fresh.records_touch("donations", [4], at=LATE)
    assert (page(1), page(2)) == ([4, 22, 21, 20, 19], [18, 17, 16, 15, 14])


def test_an_order_nobody_knows_is_by_id(fresh: Sandbox, get: Get) -> None:
    assert ids(get(fresh, "/api/donations", per_page=2, sort="-amount").json()) == [1, 2]


@pytest.mark.parametrize("seed", range(4))
def test_any_part_of_any_selection_is_what_sorting_all_records_gives(seed: int) -> None:
    """A hundred changes, and after each one selection held against a plain sort of all records."""
    chance = random.Random(seed)
    records = Sandbox(records=60).records["donations"]
    start, end = records.updated(1) - 5, records.updated(60) + 5
    moments = [chance.randint(start, end) for _ in range(12)]
    last = 60
    for _ in range(100):
        some = [chance.randint(1, last) for _ in range(chance.choice((1, 1, 3, 40)))]
        kind = chance.choice(("insert", "delete", "touch"))
        if kind == "insert":
            last = records.insert(chance.choice((1, 2, 40)), at=chance.choice(moments))[-1]
        elif kind == "delete":
            assert records.delete(some) <= len(some)
        else:
            records.touch(some, at=chance.choice(moments))
        since = chance.choice((None, START - 9.5, chance.choice(moments), chance.randint(start, end) + 0.5))
        sort, newest = chance.choice(("id", "updated_at")), chance.random() < 0.5
        equal = chance.choice(((), (("status", "paid"),)))
        order = records.select(Selection(equal, since, sort, newest))

        def key(i: int, sort: str = sort) -> tuple[int, ...]:
            return (records.updated(i), i) if sort == "updated_at" else (i,)

        alive = [i for i in range(1, last + 1) if i in records]
        wanted = [i for i in alive if (not equal or i % 3 == 0) and (since is None or records.updated(i) >= since)]
        wanted.sort(key=key, reverse=newest)
        assert len(records) == len(alive)
        assert list(order.part(0, len(order))) == wanted
        assert len(order) == len(wanted)
        at = chance.randint(0, last)
        assert list(order.part(at, at + 7)) == wanted[at : at + 7]
        place = key(chance.randint(1, last))
        passed = [i for i in wanted if (key(i) > place if newest else key(i) < place)]
        assert order.before(place) == len(passed)
        assert order.until(place) == len(passed) + (place[-1] in wanted)


@pytest.mark.parametrize("query", [*({"sort": sort} for sort in SORTS), {"updated_since": "2024-02-01"}])
def test_a_change_does_not_make_the_next_page_walk_over_a_million_records(query: dict[str, str], get: Get) -> None:
    with Sandbox(records=1_000_000) as sandbox:
        sandbox.records_insert("donations", 2)
        sandbox.records_delete("donations", [500_000, 1_000_002])
        sandbox.records_touch("donations", [7])
        tracemalloc.start()
        page = get(sandbox, "/api/paginate/donations", per_page=100, page=4_000, **query)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert len(page.json()["data"]) == 100
    assert peak < 4_000_000  # a million ids take twice as much
