"""Records that change while somebody reads them, and donations written over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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


def test_a_hook_changes_the_list_between_two_answers(fresh: Sandbox, get: Get) -> None:
    calls: list[tuple[str, str]] = []

    def remove_the_first(method: str, path: str) -> None:
        calls.append((method, path))
        fresh.records_delete("donations", [len(calls)])

    fresh.before_each(remove_the_first)
    assert page(get, fresh, 1) == [2, 3, 4, 5, 6]
    assert page(get, fresh, 1) == [3, 4, 5, 6, 7]
    assert page(get, fresh, 2) == [9, 10, 11, 12, 13]
    fresh.before_each(None)
    assert page(get, fresh, 2) == [9, 10, 11, 12, 13]
    assert calls == [("GET", "/api/donations")] * 3


def test_a_hook_is_for_lists_that_are_answered(fresh: Sandbox, get: Get, session: requests.Session) -> None:
    paths: list[str] = []
    fresh.before_each(lambda _, path: paths.append(path))
    fresh.faults.add("status", "/api/donors", status=503)
    assert get(fresh, "/api/donors").status_code == 503
    assert session.get(f"{fresh.url}/api/donors").status_code == 401
    assert get(fresh, "/api/donors/1").status_code == 200
    fresh.settings.api_per_minute = 1
    fresh.settings.throttle_window = 600.0
    for path in ("/api/plain/actions", "/api/donors"):
        get(fresh, path)
    assert fresh.counters.statuses == {503: 1, 401: 1, 200: 2, 429: 1}
    assert paths == ["/api/plain/actions"]


def test_a_hook_that_raises_is_answered_with_500_and_logged(
    fresh: Sandbox, get: Get, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_method: str, _path: str) -> None:
        raise LookupError("nothing left to remove")

    fresh.before_each(fail)
    answer = get(fresh, "/api/donations")
    assert (answer.status_code, answer.json()) == (500, {"message": "Server Error"})
    assert "LookupError: nothing left to remove" in caplog.text
    assert fresh.counters.requests == {"GET /api/donations": 1}
    fresh.before_each(None)
    assert get(fresh, "/api/donations").status_code == 200


def test_lists_may_change_in_other_threads_while_they_are_read(fresh: Sandbox) -> None:
    """Each change keeps the size of the list, so an answer that saw half of one would tell another total."""
    records = fresh.records["donations"]
    over = threading.Event()

    def change() -> None:
        oldest = 1
        while not over.is_set():
            with records.lock:
                last = fresh.records_insert("donations", 2)[-1]
                assert fresh.records_delete("donations", [oldest, oldest + 1]) == 2
            assert fresh.records_touch("donations", [last - 1, last]) <= 2
            oldest += 2

    def read(sort: str) -> list[tuple[int, int]]:
        token = {"Authorization": f"Bearer {fresh.token()}", "Accept": "application/json"}
        seen = []
        with requests.Session() as session:
            for number in range(40):
                query: dict[str, str | int] = {"sort": sort, "page": 2, "per_page": 7, "n": number}
                answer = session.get(f"{fresh.url}/api/paginate/donations", params=query, headers=token, timeout=10)
                body = answer.json()
                ids = [record["id"] for record in body["data"]]
                assert ids == sorted(ids, reverse=True) or not sort.startswith("-id")
                seen.append((body["total"], len(set(ids))))
        return seen

    with ThreadPoolExecutor(4) as pool:
        writer = pool.submit(change)
        try:
            found = [pair for pairs in pool.map(read, ("id", "-id", "-updated_at")) for pair in pairs]
        finally:
            over.set()
        writer.result()
    assert set(found) == {(20, 7)}
    assert records.version > 10


def test_nobody_else_changes_the_list_between_the_hook_and_the_answer(fresh: Sandbox, get: Get) -> None:
    threads: list[threading.Thread] = []

    def let_another_thread_try(_method: str, _path: str) -> None:
        threads.append(threading.Thread(target=fresh.records_insert, args=("donations",)))
        threads[-1].start()
        threads[-1].join(0.1)
        fresh.records_delete("donations", [1])

    fresh.before_each(let_another_thread_try)
    answer = get(fresh, "/api/donations").json()
    threads[0].join()
    assert answer["meta"]["total"] == 19
    assert len(fresh.records["donations"]) == 20
