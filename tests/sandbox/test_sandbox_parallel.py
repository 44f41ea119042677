"""Many clients at once: what the throttle tells each of them, and how many connections were open."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from airflow_provider_gofundo.sandbox import Sandbox

LIST = "/api/paginate/donations"


def head(sandbox: Sandbox) -> dict[str, str]:
    return {"Authorization": f"Bearer {sandbox.token()}", "Accept": "application/json"}


def test_eight_at_once_are_told_each_remaining_number_once(sandbox: Sandbox) -> None:
    sandbox.settings.update({"api_per_minute": 30, "throttle_window": 600.0, "latency_ms": 5})
    headers = head(sandbox)

    def pull(_: int) -> list[requests.Response]:
        with requests.Session() as session:
            return [session.get(sandbox.url + LIST, headers=headers, timeout=10) for _ in range(5)]

    with ThreadPoolExecutor(8) as pool:
        answers = [answer for some in pool.map(pull, range(8)) for answer in some]
    passed = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert sorted(int(answer.headers["X-RateLimit-Remaining"]) for answer in passed) == list(range(30))
    assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"30"}
    assert {answer.headers["X-RateLimit-Remaining"] for answer in refused} == {"0"}
    assert len(refused) == sandbox.counters.throttled == 10
    assert sandbox.counters.requests == {f"GET {LIST}": 40}
    assert sandbox.counters.in_flight_max > 1


def test_only_a_refusal_tells_when_the_window_ends(sandbox: Sandbox) -> None:
    sandbox.settings.update({"api_per_minute": 1, "throttle_window": 600.0})
    headers = head(sandbox)
    before = int(time.time())
    passed, refused = (requests.get(sandbox.url + LIST, headers=headers, timeout=10) for _ in range(2))
    after = int(time.time())
    assert {name for name in passed.headers if name.lower().startswith(("x-rate", "retry"))} == {
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
    }
    wait = int(refused.headers["Retry-After"])
    assert 600 - (after - before) - 1 <= wait <= 600
    assert before + wait <= int(refused.headers["X-RateLimit-Reset"]) <= after + wait


def test_a_window_of_no_length_refuses_nobody(sandbox: Sandbox) -> None:
    sandbox.settings.update({"api_per_minute": 2, "throttle_window": 0.0})
    headers = head(sandbox)
    answers = [requests.get(sandbox.url + LIST, headers=headers, timeout=10) for _ in range(3)]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "1", "1"]


@pytest.mark.parametrize("clients", [2, 5])
def test_the_highest_number_of_open_connections_is_kept(clients: int, fresh: Sandbox) -> None:
    headers = head(fresh)
    all_open = threading.Barrier(clients)

    def pull(_: int) -> None:
        with requests.Session() as session:
            for _ in range(3):
                assert session.get(fresh.url + LIST, headers=headers, timeout=10).status_code == 200
            all_open.wait(10)
            assert session.get(fresh.url + LIST, headers=headers, timeout=10).status_code == 200
            all_open.wait(10)

    def all_closed() -> bool:
        deadline = time.monotonic() + 10
        while fresh.counters.connections_open and time.monotonic() < deadline:
            time.sleep(0.005)
        return fresh.counters.connections_open == 0

    for _ in range(2):
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(pull, range(clients)))
        assert all_closed()
    for _ in range(3):
        requests.get(fresh.url + LIST, headers=headers, timeout=10)
        assert all_closed()
    assert fresh.counters.connections_max == clients
    assert fresh.counters.total == clients * 8 + 3
