"""Lists: every shape can be walked to its end, and behaves at its edges as Laravel does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.sandbox.shapes import SHAPES, decode_cursor, page_window

Get = Callable[..., requests.Response]
PAGED = [shape for shape in SHAPES if "paginate" in shape]
NUMBERED = [shape for shape in PAGED if not shape.startswith("cursor")]


def walk(get: Get, sandbox: Sandbox, path: str, **query: object) -> Iterator[list[dict[str, Any]]]:
    """Page after page, as a client that trusts only the page or cursor of a link."""
    place: dict[str, str] = {}
    for _ in range(100):
        answer = get(sandbox, path, **query, **place).json()
        yield answer["data"]
        link = answer["links"]["next"] if isinstance(answer.get("links"), dict) else answer["next_page_url"]
        if link is None:
            return
        place = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    raise AssertionError("the list has no end")


def ids(pages: Iterator[list[dict[str, Any]]]) -> list[int]:
    return [record["id"] for page in pages for record in page]


@pytest.mark.parametrize("shape", PAGED)
@pytest.mark.parametrize("name", ["donations", "donors", "actions"])
def test_every_paged_shape_gives_every_record_once(shape: str, name: str, fresh: Sandbox, get: Get) -> None:
    count = len(fresh.records[name])
    assert ids(walk(get, fresh, f"/api/{shape}/{name}", per_page=3)) == list(range(1, count + 1))


def test_the_plain_route_is_a_page_as_resource(sandbox: Sandbox, get: Get) -> None:
    plain = get(sandbox, "/api/donors", per_page=2).json()
    assert plain["meta"]["total"] == 250
    assert plain.keys() == {"data", "links", "meta"}


def test_the_unpaged_shapes_give_everything_at_once(fresh: Sandbox, get: Get) -> None:
    assert [r["id"] for r in get(fresh, "/api/plain/donors").json()] == [1, 2, 3, 4, 5]
    assert [r["id"] for r in get(fresh, "/api/resource/donors").json()["data"]] == [1, 2, 3, 4, 5]
    keyed = get(fresh, "/api/keyed/donors").json()["data"]
    assert {key: record["id"] for key, record in keyed.items()} == {"1": 2, "3": 4}


def test_a_keyed_collection_that_is_empty_is_a_list(fresh: Sandbox, get: Get) -> None:
    assert get(fresh, "/api/keyed/donors", city="Nowhere").text == '{"data":[]}'


@pytest.mark.parametrize("shape", NUMBERED)
def test_past_the_end_there_is_an_empty_page(shape: str, fresh: Sandbox, get: Get) -> None:
    answer = get(fresh, f"/api/{shape}/donations", per_page=10, page=9)
    assert answer.status_code == 200
    assert answer.json()["data"] == []


def test_a_million_records_are_not_made_before_they_are_read(get: Get) -> None:
    with Sandbox(records=1_000_000) as sandbox:
        last = get(sandbox, "/api/donations", per_page=1000, page=1000).json()
    assert last["data"][-1]["id"] == 1_000_000
    assert last["data"][-1]["updated_at"] < "2026"


def test_per_page_is_15_unless_given_and_is_cut_to_the_maximum(sandbox: Sandbox, get: Get) -> None:
    sandbox.settings.max_per_page = 50
    sizes = {given: get(sandbox, "/api/donations", per_page=given) for given in ("", "0", "abc", "7", "500")}
    assert {given: answer.json()["meta"]["per_page"] for given, answer in sizes.items()} == {
        "": 15,
        "0": 15,
        "abc": 15,
        "7": 7,
        "500": 50,
    }
    assert len(sizes["500"].json()["data"]) == 50


def test_simple_paginate_can_tell_per_page_as_a_string(sandbox: Sandbox, get: Get) -> None:
    sandbox.settings.per_page_string = True
    assert get(sandbox, "/api/simple-paginate/donations", per_page=3).json()["per_page"] == "3"
    assert get(sandbox, "/api/simple-paginate/donations").json()["per_page"] == 15


def test_cursors_have_names_from_laravel_9(sandbox: Sandbox, get: Get) -> None:
    sandbox.settings.cursor_names = True
    page = get(sandbox, "/api/cursor-paginate/donations", per_page=2).json()
    assert list(page) == [
        "data", "path", "per_page", "next_cursor", "next_page_url", "prev_cursor", "prev_page_url",
    ]  # fmt: skip
    assert page["next_page_url"].endswith(page["next_cursor"])
    assert page["prev_cursor"] is None
    assert decode_cursor(page["next_cursor"]) == {"id": 2, "_pointsToNextItems": True}


def test_a_cursor_leads_back_too(sandbox: Sandbox, get: Get) -> None:
    path = "/api/cursor-paginate/donations"
    first = get(sandbox, path, per_page=4).json()
    cursor = parse_qs(urlsplit(first["next_page_url"]).query)["cursor"][0]
    second = get(sandbox, path, per_page=4, cursor=cursor).json()
    back = parse_qs(urlsplit(second["prev_page_url"]).query)["cursor"][0]
    again = get(sandbox, path, per_page=4, cursor=back).json()
    assert [record["id"] for record in again["data"]] == [1, 2, 3, 4]
    assert again["prev_page_url"] is None
    assert again["next_page_url"] == first["next_page_url"]


def test_cursors_of_equal_times_lose_nothing(fresh: Sandbox, get: Get) -> None:
    fresh.records_touch("donations", range(3, 15), at=1_800_000_000)
    found = ids(walk(get, fresh, "/api/cursor-paginate/donations", per_page=5, sort="updated_at"))
    assert found == [1, 2, *range(15, 21), *range(3, 15)]


def test_links_lose_the_query_unless_the_app_keeps_it(sandbox: Sandbox, get: Get) -> None:
    lost = get(sandbox, "/api/donations", per_page=2, status="paid").json()["links"]["next"]
    sandbox.settings.keep_query = True
    kept = get(sandbox, "/api/donations", per_page=2, status="paid").json()["links"]["next"]
    assert lost == f"{sandbox.url}/api/donations?page=2"
    assert kept == f"{sandbox.url}/api/donations?per_page=2&status=paid&page=2"


def test_links_can_name_another_scheme_and_host(sandbox: Sandbox, get: Get) -> None:
    sandbox.settings.link_base = "http://gofundo.example"
    body = get(sandbox, "/api/paginate/donations").json()
    assert body["next_page_url"] == "http://gofundo.example/api/paginate/donations?page=2"
    assert body["path"] == "http://gofundo.example/api/paginate/donations"


def test_filters_compare_any_field(sandbox: Sandbox, get: Get) -> None:
    def of(**query: object) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = get(sandbox, "/api/resource/donations", **query).json()["data"]
        return records

    assert {r["status"] for r in of(status="paid")} == {"paid"}
    assert len(of(status="paid")) == 335
    assert [r["id"] for r in of(id=7)] == [7]
    assert all(r["anonymous"] and r["donor_name"] is None for r in of(anonymous=1))
    assert len(of(anonymous="true")) == len(of(anonymous=1)) == 201
    assert [r["id"] for r in of(amount="79.19")] == [1]
    assert of(status="paid", project_id=4) == [r for r in of(status="paid") if r["project_id"] == 4]
    assert len(of(no_such_field="x")) == 1005


def test_updated_since_is_inclusive_and_knows_zones(sandbox: Sandbox, get: Get) -> None:
    def first(since: str) -> int:
        answer = get(sandbox, "/api/donations", updated_since=since)
        return int(answer.json()["data"][0]["id"])

    assert first("2024-01-01T03:00:21.000000Z") == 3
    assert first("2024-01-01T04:00:21+01:00") == 3
    assert first("2024-01-01 03:00:21") == 3
    assert first("2024-01-01T03:00:21.5Z") == 4
    assert get(sandbox, "/api/donations", updated_since="2030-01-01").json()["data"] == []


def test_an_updated_since_that_is_no_time_is_refused(sandbox: Sandbox, get: Get) -> None:
    answer = get(sandbox, "/api/donations", updated_since="yesterday")
    assert answer.status_code == 422
    assert answer.json()["errors"] == {"updated_since": ["The updated since is not a valid date."]}


def test_json_is_written_as_php_writes_it(sandbox: Sandbox, get: Get) -> None:
    text = get(sandbox, "/api/plain/donations", id=33).text
    assert text.isascii()
    assert "\\u" in text
    assert '": ' not in text
    assert "http:\\/\\/" in get(sandbox, "/api/donations", per_page=1).text
    fees = {r["id"]: r["fee"] for r in get(sandbox, "/api/plain/donations").json()}
    assert isinstance(fees[1], float)
    assert '"fee":0,' in get(sandbox, "/api/plain/donations", id=100).text


def test_pretty_json_says_the_same(sandbox: Sandbox, get: Get) -> None:
    short = get(sandbox, "/api/donations", per_page=3)
    sandbox.settings.pretty = True
    pretty = get(sandbox, "/api/donations", per_page=3)
    assert pretty.json() == short.json()
    assert pretty.text.startswith('{\n    "data": [\n        {\n            "id": 1,')


def test_bodies_are_compressed_for_who_accepts_it(sandbox: Sandbox, session: requests.Session) -> None:
    sandbox.settings.gzip = True
    headers = {"Authorization": f"Bearer {sandbox.token()}"}
    url = f"{sandbox.url}/api/donations?per_page=100"
    small = session.get(url, headers=headers)
    plain = session.get(url, headers={**headers, "Accept-Encoding": "identity"})
    assert small.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert int(small.headers["Content-Length"]) < int(plain.headers["Content-Length"]) / 4
    assert small.content == plain.content


def test_head_has_the_headers_of_get(sandbox: Sandbox, session: requests.Session) -> None:
    headers = {"Authorization": f"Bearer {sandbox.token()}"}
    url = f"{sandbox.url}/api/donations"
    head, get = session.head(url, headers=headers), session.get(url, headers=headers)
    assert head.content == b""
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


def test_names_are_invented_and_come_in_many_letters(sandbox: Sandbox, get: Get) -> None:
    records = get(sandbox, "/api/plain/donations").json()
    names = {record["donor_name"] for record in records}
    assert None in names
    assert any("ë" in name and name.isprintable() for name in names if name)
    assert {record["donor_email"].split("@")[1] for record in records if record["donor_email"]} == {"example.org"}


@pytest.mark.parametrize(
    ("page", "last", "window"),
    [
        (1, 13, [*range(1, 14)]),
        (7, 14, [*range(1, 11), None, 13, 14]),
        (8, 20, [1, 2, None, *range(5, 12), None, 19, 20]),
        (14, 20, [1, 2, None, *range(11, 21)]),
        (99, 20, [1, 2, None, *range(11, 21)]),
    ],
)
def test_page_links_are_laravels_window(page: int, last: int, window: list[int | None]) -> None:
    assert page_window(page, last) == window


def test_records_do_not_depend_on_the_page_they_are_on(sandbox: Sandbox, get: Get) -> None:
    whole = get(sandbox, "/api/plain/donations").json()
    assert [get(sandbox, f"/api/donations/{i}").json()["data"] for i in (1, 500, 1005)] == [
        whole[i - 1] for i in (1, 500, 1005)
    ]
    assert json.dumps(whole[6]) == json.dumps(get(sandbox, "/api/donations-raw/7").json())
