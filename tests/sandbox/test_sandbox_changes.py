"""Records that change while somebody reads them, and donations written over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from airflow_provider_gofundo.sandbox import Sandbox

Get = Callable[..., requests.Response]


def page(get: Get, sandbox: Sandbox, number: int, **query: object) -> list[int]:
    answer = get(sandbox, "/api/donations", per_page=5, page=number, **query)
    return [record["id"] for record in answer.json()["data"]]


def test_deleted_records_shift_the_pages(fresh: Sandbox, get: Get) -> None:
    assert page(get, fresh, 1) == [1, 2, 3, 4, 5]
    assert fresh.records_delete("donations", [1, 2, 99]) == 2
    assert page(get, fresh, 2) == [8, 9, 10, 11, 12]
    assert get(fresh, "/api/donations").json()["meta"]["total"] == 18
    assert get(fresh, "/api/donations/1").status_code == 404


def test_a_cursor_is_not_shifted(fresh: Sandbox, get: Get) -> None:
    path = "/api/cursor-paginate/donations"
    cursor = get(fresh, path, per_page=5).json()["next_page_url"].split("cursor=")[1]
    fresh.records_delete("donations", [1, 5])
    after = get(fresh, path, per_page=5, cursor=cursor).json()["data"]
    assert [record["id"] for record in after] == [6, 7, 8, 9, 10]


def test_inserted_records_are_new_and_last(fresh: Sandbox, get: Get) -> None:
    assert fresh.records_insert("donations", 3) == [21, 22, 23]
    assert page(get, fresh, 5) == [21, 22, 23]
    found = get(fresh, "/api/plain/donations", updated_since="2026-01-01T00:00:00Z").json()
    assert [record["id"] for record in found] == [21, 22, 23]


def test_touched_records_are_found_again(fresh: Sandbox, get: Get) -> None:
    before = get(fresh, "/api/donations/4").json()["data"]
    assert fresh.records_touch("donations", [4, 2, 77], at=1_800_000_000) == 2
    after = get(fresh, "/api/donations/4").json()["data"]
    assert after["updated_at"] == "2027-01-15T08:00:00.000000Z"
    assert {k: v for k, v in after.items() if k != "updated_at"} == {
        k: v for k, v in before.items() if k != "updated_at"
    }
    assert page(get, fresh, 1, updated_since="2027-01-15T08:00:00Z") == [2, 4]
    assert page(get, fresh, 4, sort="updated_at") == [18, 19, 20, 2, 4]


def test_a_filter_sees_the_change(fresh: Sandbox, get: Get) -> None:
    assert page(get, fresh, 1, status="paid") == [3, 6, 9, 12, 15]
    fresh.records["donations"].change(1, {"status": "paid"})
    fresh.records["donations"].change(3, {"status": "open", "no_such_field": 1})
    assert page(get, fresh, 1, status="paid") == [1, 6, 9, 12, 15]


def test_the_other_lists_change_too(fresh: Sandbox, get: Get) -> None:
    fresh.records_insert("donors", 2)
    fresh.records_delete("actions", [2])
    assert get(fresh, "/api/donors").json()["meta"]["total"] == 7
    assert [action["id"] for action in get(fresh, "/api/plain/actions").json()] == [1, 3]


@pytest.fixture
def send(session: requests.Session) -> Callable[..., requests.Response]:
    def call(sandbox: Sandbox, method: str, path: str, **fields: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {sandbox.token()}"}
        return session.request(method, sandbox.url + path, json=fields, headers=headers, timeout=10)

    return call


def test_a_donation_is_made_changed_and_removed(
    fresh: Sandbox, get: Get, send: Callable[..., requests.Response]
) -> None:
    made = send(fresh, "POST", "/api/donations", project_id=3, amount="12.5", donor_name="Proef/Ø")
    assert (made.status_code, made.json()["data"]["id"]) == (201, 21)
    record = get(fresh, "/api/donations/21").json()["data"]
    assert (record["project_id"], record["amount"], record["donor_name"]) == (3, "12.50", "Proef/Ø")
    patched = send(fresh, "PATCH", "/api/donations/21", status="refunded").json()["data"]
    assert (patched["status"], patched["amount"]) == ("refunded", "12.50")
    assert send(fresh, "PUT", "/api/donations/21", status="open").status_code == 422
    assert send(fresh, "PUT", "/api/donations/21", project_id=1, amount=2).json()["data"]["amount"] == "2.00"
    gone = send(fresh, "DELETE", "/api/donations/21")
    assert (gone.status_code, gone.content) == (204, b"")
    assert send(fresh, "DELETE", "/api/donations/21").status_code == 404


def test_writing_is_for_donations_only(fresh: Sandbox, send: Callable[..., requests.Response]) -> None:
    answer = send(fresh, "POST", "/api/donors")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
