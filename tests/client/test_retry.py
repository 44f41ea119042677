"""What is tried again, after how long, and when it stops."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_gofundo.client.rate import Pace
from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoAuthError,
    GofundoConnectionError,
    GofundoRateLimitError,
    GofundoResponseError,
)
from airflow_provider_gofundo.sandbox import Sandbox
from tests.fixtures import ClientOf, Waits
from tests.replay import TOKEN, Answer, Replay, recorded

JSON = {"Content-Type": "application/json"}
GOOD = Answer(body=b'{"data": []}')


def throttled(retry_after: int | None = None) -> Answer:
    asked = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return Answer(429, {**JSON, **asked}, b'{"message": "Too Many Attempts."}')


# --- how long -------------------------------------------------------------------------------------------------


def test_a_throttled_request_waits_as_many_seconds_as_the_server_asks(
    replay: Replay, client_of: ClientOf, waits: Waits
) -> None:
    replay.answer(recorded("d13_throttled_json"), GOOD)

    client_of(replay.url).request("GET", "api/donations")

    assert waits == [60]


def test_a_throttled_request_waits_until_the_date_the_server_names_on_its_own_clock(
    replay: Replay, client_of: ClientOf, waits: Waits
) -> None:
    dates = {"Date": "Thu, 01 Jan 2026 12:00:00 GMT", "Retry-After": "Thu, 01 Jan 2026 12:01:30 GMT"}
    replay.answer(Answer(429, {**JSON, **dates}, b"{}"), GOOD)

    client_of(replay.url).request("GET", "api/donations")

    assert waits == [90]


@pytest.mark.parametrize("value", ["", "soon", "-5", "1.5", "Thu, 01 Jan 1970 00:00:00 GMT", "٣"])
def test_an_unreadable_or_past_retry_after_leaves_the_backoff(
    replay: Replay, client_of: ClientOf, waits: Waits, value: str
) -> None:
    headers = {**JSON, "Retry-After": value.encode().decode("latin-1")}
    replay.answer(Answer(503, headers, b"{}"), GOOD)

    client_of(replay.url).request("GET", "api/donations")

    (waited,) = waits
    assert 1 <= waited <= 2


def test_the_wait_is_the_larger_of_what_the_server_asks_and_a_growing_backoff(
    replay: Replay, client_of: ClientOf, waits: Waits
) -> None:
    replay.answer(throttled(0), throttled(1), throttled(33), throttled(), GOOD)

    client_of(replay.url).request("GET", "api/donations")

    first, second, third, fourth = waits
    assert 1 <= first <= 2
    assert 2 <= second <= 3
    assert third == 33
    assert 8 <= fourth <= 9


# --- when it stops ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_request_is_tried_as_often_as_the_connection_says(
    replay: Replay, client_of: ClientOf, waits: Waits, attempts: int
) -> None:
    replay.answer(recorded("d20_server_error_json"))
    client = client_of(replay.url, extra={"max_attempts": attempts})

    with pytest.raises(GofundoApiError) as caught:
        client.request("GET", "api/donations")

    assert caught.value.status == 500
    assert len(replay.resource_requests) == attempts
    assert len(waits) == attempts - 1
    assert (client.traffic.requests, client.traffic.retries) == (attempts, attempts - 1)
    assert client.traffic.waited == pytest.approx(sum(waits))


def test_a_wait_that_would_pass_the_budget_is_not_begun(replay: Replay, client_of: ClientOf, waits: Waits) -> None:
    replay.answer(throttled(3600))

    with pytest.raises(GofundoRateLimitError) as caught:
        client_of(replay.url).request("GET", "api/donations")

    assert waits == []
    assert caught.value.retry_in == 3600
    assert "asks to wait 3600 s" in str(caught.value)


def test_all_waits_of_a_request_together_stay_under_the_budget(
    replay: Replay, client_of: ClientOf, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + sum(waits))  # as if the waits had passed
    replay.answer(throttled(250))

    with pytest.raises(GofundoRateLimitError):
        client_of(replay.url, extra={"max_attempts": 10}).request("GET", "api/donations")

    assert waits == [250, 250]


# --- what is repeated -------------------------------------------------------------------------------------------

REPEATED = ["GET", "PUT", "DELETE"]
SENT_ONCE = ["POST", "PATCH"]
PASSING: dict[str, Answer] = {
    "500": recorded("d20_server_error_json"),
    "502": Answer(502, {"Content-Type": "text/html"}, b"<html>Bad Gateway</html>"),
    "503": recorded("d24_maintenance_no_retry_json"),
    "lost": Answer(drop=True),
    "cut short": Answer(body=b'{"data": [', length=100),
    "damaged": Answer(body=b'{"data": ['),
}


@pytest.mark.parametrize("method", REPEATED)
@pytest.mark.parametrize("trouble", PASSING)
def test_what_does_no_more_when_done_twice_is_repeated(
    replay: Replay, client_of: ClientOf, method: str, trouble: str
) -> None:
    replay.answer(PASSING[trouble], GOOD)

    answer = client_of(replay.url).request(method, "api/donations/1")

    assert answer.status_code == 200
    assert [asked.method for asked in replay.resource_requests] == [method] * 2


@pytest.mark.parametrize("method", SENT_ONCE)
@pytest.mark.parametrize("trouble", PASSING)
def test_what_might_do_something_twice_is_sent_once(
    replay: Replay, client_of: ClientOf, waits: Waits, method: str, trouble: str
) -> None:
    replay.answer(PASSING[trouble], GOOD)

    with pytest.raises((GofundoApiError, GofundoConnectionError, GofundoResponseError)) as caught:
        client_of(replay.url).request(method, "api/donations", json={"amount": "1.00"})

    assert len(replay.resource_requests) == 1
    assert waits == []
    assert caught.value.retry_in is None, "nor should a task repeat it"


def test_a_lost_answer_says_that_the_request_may_have_had_its_effect(sandbox: Sandbox, client_of: ClientOf) -> None:
    sandbox.faults.add("lost_answer", method="POST")
    donation = {"project_id": 1, "amount": "12.50"}

    with pytest.raises(GofundoConnectionError) as caught:
        client_of(sandbox.url).request("POST", "api/donations", json=donation)

    assert caught.value.answer_lost
    assert len(sandbox.records["donations"]) == 41, "once, and it did"


@pytest.mark.parametrize("method", [*REPEATED, *SENT_ONCE])
def test_a_throttled_request_is_repeated_whatever_it_does(replay: Replay, client_of: ClientOf, method: str) -> None:
    replay.answer(recorded("d13_throttled_json"), GOOD)

    client_of(replay.url).request(method, "api/donations")

    assert len(replay.resource_requests) == 2


@pytest.mark.parametrize("method", [*REPEATED, *SENT_ONCE])
def test_a_refused_connection_is_tried_again_whatever_the_request_does(
    client_of: ClientOf, waits: Waits, method: str
) -> None:
    with Sandbox(records=3) as sandbox:
        client = client_of(sandbox.url, extra={"max_attempts": 3})
        client.request("GET", "api/donations")
        waits.clear()

    with pytest.raises(GofundoConnectionError, match=r"Cannot connect to .* Check Host and Port\.") as caught:
        client.request(method, "api/donations")

    assert len(waits) == 2
    assert not caught.value.answer_lost


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 413, 422])
def test_an_error_that_repeating_cannot_mend_is_not_repeated(
    replay: Replay, client_of: ClientOf, waits: Waits, status: int
) -> None:
    replay.answer(Answer(status, JSON, b'{"message": "no"}'))

    with pytest.raises(GofundoApiError) as caught:
        client_of(replay.url).request("GET", "api/donations")

    assert (caught.value.status, caught.value.retry_in) == (status, None)
    assert waits == []


@pytest.mark.parametrize("fault", ["broken_json", "truncate", "drop", "lost_answer"])
def test_an_answer_damaged_on_its_way_is_asked_for_again(sandbox: Sandbox, client_of: ClientOf, fault: str) -> None:
    sandbox.faults.add(fault, times=2)

    answer = client_of(sandbox.url).request("GET", "api/donations", query_params={"per_page": 40})

    assert len(answer.json()["data"]) == 40
    assert sandbox.counters.faults[fault] == 2


# --- 401 --------------------------------------------------------------------------------------------------------


def test_a_refused_token_is_renewed_and_the_request_replayed(sandbox: Sandbox, client_of: ClientOf) -> None:
    client = client_of(sandbox.url)
    client.request("GET", "api/donations")
    sandbox.revoke_all()

    donation = {"project_id": 1, "amount": "12.50"}
    assert client.request("POST", "api/donations", json=donation).status_code == 201

    assert sandbox.counters.grants["client_credentials"] == 2
    assert len(sandbox.records["donations"]) == 41


def test_a_new_token_that_is_refused_too_ends_it(replay: Replay, client_of: ClientOf, waits: Waits) -> None:
    replay.answer(recorded("d06_client_credentials_token_on_auth_api_json"))

    with pytest.raises(GofundoAuthError, match="Grant type") as caught:
        client_of(replay.url).request("GET", "api/user/me")

    assert caught.value.status == 401
    assert len(replay.token_requests) == 2
    assert len(replay.resource_requests) == 2
    assert waits == []


def test_a_token_is_renewed_once_for_a_request_however_often_it_is_tried(
    replay: Replay, client_of: ClientOf, waits: Waits
) -> None:
    refused = recorded("d03_garbage_token_json")
    replay.answer(refused, recorded("d20_server_error_json"), refused)

    with pytest.raises(GofundoAuthError):
        client_of(replay.url).request("GET", "api/donations")

    assert len(replay.token_requests) == 2
    assert len(waits) == 1


def test_a_login_that_breaks_off_is_tried_again(replay: Replay, client_of: ClientOf, waits: Waits) -> None:
    replay.tokens = [Answer(drop=True), recorded("d20_server_error_json"), TOKEN]
    replay.answer(GOOD)

    client_of(replay.url).request("POST", "api/donations", json={})

    assert len(waits) == 2
    assert len(replay.resource_requests) == 1


# --- pace -------------------------------------------------------------------------------------------------------


class Time:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def starts(per_minute: float | None, *, work: Callable[[int], float] = lambda _: 0.0) -> list[float]:
    """When each of five requests may start, if the work after each takes so long."""
    at = Time()
    pace = Pace(per_minute, clock=at.clock)
    found: list[float] = []
    for number in range(5):
        pace.leave(pace.enter(at.sleep), None)
        found.append(at.now - 1_000)
        at.sleep(work(number))
    return found


def test_requests_are_spaced_evenly_under_a_ceiling() -> None:
    assert starts(120) == [0, 0.5, 1, 1.5, 2]


def test_time_spent_otherwise_is_not_waited_again_and_not_saved_up() -> None:
    assert starts(60, work=lambda number: [0.25, 10, 0, 0, 0][number]) == [0, 1, 11, 12, 13]


def test_without_a_ceiling_nothing_waits() -> None:
    assert starts(None) == [0] * 5


def test_the_connections_ceiling_paces_its_requests(replay: Replay, client_of: ClientOf, waits: Waits) -> None:
    replay.answer(GOOD)
    fields: dict[str, Any] = {"extra": {"requests_per_minute": 1}}
    client = client_of(replay.url, **fields)

    client.request("GET", "api/donations")
    assert waits == []
    client.request("GET", "api/donations")

    (waited,) = waits
    assert 50 < waited <= 60
