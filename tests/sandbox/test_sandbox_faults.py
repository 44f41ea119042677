"""Every fault does what it says, to the requests it is meant for, as often as it should."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any

import pytest
import requests

from airflow_provider_gofundo.sandbox import Sandbox
from tests.fixtures import until

Get = Callable[..., requests.Response]
LIST = "/api/donations"


def test_a_status_with_its_retry_after(sandbox: Sandbox, get: Get) -> None:
    sandbox.faults.add("status", LIST, status=429, retry_after=7)
    answer = get(sandbox, LIST)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert answer.json() == {"message": "Too Many Attempts."}
    assert sandbox.counters.throttled == 1
    assert get(sandbox, LIST).status_code == 200


def test_a_retry_after_can_be_a_date(sandbox: Sandbox, get: Get) -> None:
    when = datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    sandbox.faults.add("status", LIST, status=503, retry_after=when)
    assert get(sandbox, LIST).headers["Retry-After"] == "Wed, 02 Jan 2030 03:04:05 GMT"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_status_can_have_an_html_body(status: int, sandbox: Sandbox, get: Get) -> None:
    sandbox.faults.add("status", LIST, status=status, body="html")
    answer = get(sandbox, LIST)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "text/html; charset=UTF-8"
    assert "Retry-After" not in answer.headers


def test_html_instead_of_json(sandbox: Sandbox, get: Get) -> None:
    sandbox.faults.add("html", LIST)
    answer = get(sandbox, LIST)
    assert answer.status_code == 200
    assert answer.text.startswith("<!DOCTYPE html>")


def test_broken_json_is_complete_on_the_wire(sandbox: Sandbox, get: Get) -> None:
    sandbox.faults.add("broken_json", LIST)
    answer = get(sandbox, LIST)
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|Invalid"):
        answer.json()


def test_a_truncated_body_is_shorter_than_announced(sandbox: Sandbox, get: Get) -> None:
    sandbox.faults.add("truncate", LIST)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        get(sandbox, LIST)


def test_a_dropped_connection_gives_no_answer(sandbox: Sandbox, get: Get) -> None:
    sandbox.faults.add("drop", LIST)
    with pytest.raises(requests.exceptions.ConnectionError, match=r"RemoteDisconnected|Connection reset"):
        get(sandbox, LIST)
    assert sandbox.counters.cut == 1
    assert sandbox.requests[-1].status is None
    assert get(sandbox, LIST).status_code == 200


def test_a_slow_answer_comes_late_and_whole(sandbox: Sandbox, get: Get) -> None:
    sandbox.faults.add("slow", LIST, seconds=0.2)
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(sandbox.url + LIST, timeout=0.05)
    started = time.monotonic()
    sandbox.faults.add("slow", LIST, seconds=0.1)
    assert get(sandbox, LIST).status_code == 200
    assert time.monotonic() - started >= 0.1


def test_a_lost_answer_did_its_work(sandbox: Sandbox, session: requests.Session) -> None:
    login = {"client_id": "2", "client_secret": "secret-password-2"}
    user = {"username": "alice@example.org", "password": "alice-password", "grant_type": "password"}
    url = f"{sandbox.url}/oauth/token"
    token = session.post(url, data={**login, **user}).json()
    renewal = {**login, "grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    sandbox.faults.add("lost_answer", "/oauth/token")
    with pytest.raises(requests.exceptions.ConnectionError):
        session.post(url, data=renewal)
    again = session.post(url, data=renewal)
    assert (again.status_code, again.json()["hint"]) == (401, "Token has been revoked")
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    assert session.get(f"{sandbox.url}/api/user/me", headers=headers).status_code == 401


def test_redirects(sandbox: Sandbox, session: requests.Session) -> None:
    headers = {"Authorization": f"Bearer {sandbox.token()}"}
    sandbox.faults.add("login_redirect", LIST)
    sandbox.faults.add("redirect", LIST, url="http://gofundo.example/elsewhere", status=307)
    answers = [session.get(sandbox.url + LIST, headers=headers, allow_redirects=False) for _ in range(2)]
    assert [(a.status_code, a.headers["Location"]) for a in answers] == [
        (302, f"{sandbox.url}/login"),
        (307, "http://gofundo.example/elsewhere"),
    ]
    assert session.get(f"{sandbox.url}/login").headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("value", ["text", None, [], {"ok": True}, 7])
def test_json_of_the_wrong_type(value: Any, sandbox: Sandbox, get: Get) -> None:
    sandbox.faults.add("wrong_type", LIST, value=value)
    assert get(sandbox, LIST).json() == value


def test_a_revocation_strikes_before_the_request_is_handled(sandbox: Sandbox, get: Get) -> None:
    sandbox.faults.add("revoke", LIST)
    other = sandbox.token()
    assert get(sandbox, LIST).status_code == 401
    assert get(sandbox, LIST).status_code == 200
    assert sandbox.tokens.access(other).revoked  # type: ignore[union-attr]  # it was issued two lines up


def test_faults_wait_for_their_request(sandbox: Sandbox, get: Get) -> None:
    sandbox.faults.add("status", "/api/donors", status=500)
    sandbox.faults.add("status", LIST, status=501, query="page=3")
    sandbox.faults.add("status", LIST, status=502, method="post")
    assert [get(sandbox, LIST, page=n).status_code for n in (1, 2, 3, 4)] == [200, 200, 501, 200]
    assert requests.post(sandbox.url + LIST, timeout=10).status_code == 502
    assert get(sandbox, "/api/donors").status_code == 500
    assert sandbox.faults.waiting == ()


def test_faults_come_in_order_as_often_as_told(sandbox: Sandbox, get: Get) -> None:
    sandbox.faults.add("status", LIST, status=500, times=2, after=1)
    late = sandbox.faults.add("status", LIST, status=503, times=None, after=1)
    assert [get(sandbox, LIST).status_code for _ in range(5)] == [200, 500, 500, 503, 503]
    assert late.consumed == 2
    assert sandbox.counters.faults == {"status": 4}
    sandbox.faults.clear()
    assert get(sandbox, LIST).status_code == 200


@pytest.mark.parametrize(
    ("kind", "options", "problem"),
    [
        ("nonsense", {}, "no such fault"),
        ("status", {}, "needs status"),
        ("html", {"status": 200}, "knows no status"),
        ("redirect", {}, "needs url"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(
    kind: str, options: dict[str, Any], problem: str, sandbox: Sandbox
) -> None:
    with pytest.raises(ValueError, match=problem):
        sandbox.faults.add(kind, **options)


def test_latency_holds_up_nobody_else(sandbox: Sandbox, get: Get) -> None:
    sandbox.settings.latency_ms = 100
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: requests.get(sandbox.url + LIST, timeout=10), range(8)))
    passed = time.monotonic() - started
    assert len(answers) == 8
    assert passed >= 0.1
    assert sandbox.counters.in_flight_max > 1
    until(lambda: sandbox.counters.in_flight == 0)
    assert sandbox.counters.connections_max > 1
