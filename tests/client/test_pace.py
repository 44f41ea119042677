"""The pace: as fast as the server allows, and hardly ever refused for being faster."""

from __future__ import annotations

import gc
import heapq
import math
import random
import weakref
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

import pytest
import requests

from airflow_provider_gofundo.answer import LONGEST_WAIT
from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.client.rate import MARGIN, WIDEST, Gate, Told, shared_pace
from airflow_provider_gofundo.client.retry import BUDGET
from airflow_provider_gofundo.exceptions import GofundoApiError
from airflow_provider_gofundo.oauth.grants import grant_for
from airflow_provider_gofundo.oauth.manager import TokenManager
from airflow_provider_gofundo.oauth.store import MemoryTokenStore
from airflow_provider_gofundo.pages.walk import walk
from airflow_provider_gofundo.sandbox import Sandbox
from tests.fixtures import Waits, settings_of

GOOD, REFUSED = Told(), Told(slow_down=True)


# --- against a server that allows so many a minute ----------------------------------------------------------------


@dataclass
class Server:
    """
    Allows so many requests in a window that opens with the first one, as Laravel does.

    `seconds` is how it counts them: "up" rounds what is left of the window up, "laravel" takes the difference of
    two times without their fractions. With `tells_reset` every answer has X-RateLimit-Reset, not a 429 alone.
    """

    limit: int
    window: float = 60.0
    seconds: str = "up"
    tells_reset: bool = False
    ends: float = -math.inf
    hits: int = 0
    windows: int = 0

    def answer(self, now: float) -> Told:
        if now >= self.ends:
            self.ends, self.hits, self.windows = now + self.window, 0, self.windows + 1
        left = math.ceil(self.ends - now) if self.seconds == "up" else math.floor(self.ends) - math.floor(now)
        if self.hits >= self.limit:
            return Told(slow_down=True, wait=left, remaining=0, reset=left)
        self.hits += 1
        return Told(remaining=self.limit - self.hits, reset=left if self.tells_reset else None)


class Event(NamedTuple):
    """Something that happens at a time to a request: "send", "arrive" at the server, "answer"."""

    at: float
    order: int
    what: str
    ticket: int = 0
    told: Told | None = None


@dataclass
class Pull:
    """
    Asks a server for pages, so many at once, on a clock of its own, as a walk does: the first page alone.

    A refused page is asked for again, after what the server said and a second at least. A `neighbour` asks so many
    times a minute too, evenly. `seconds` and `refused` are how long it took and how many answers were a 429.
    """

    server: Server
    pages: int
    parallel: int
    latency: tuple[float, float] = (0.02, 0.3)
    neighbour: float = 0.0
    seed: int = 1
    gate: Gate = field(default_factory=Gate)
    seconds: float = 0.0
    refused: int = 0

    def run(self) -> Pull:
        chance, order = random.Random(self.seed), count()
        events: list[Event] = []
        parked: list[Event] = []  # until an answer comes
        started = now = 1_000 + chance.random()
        waiting, busy, done = self.pages - 1, 1, 0

        def happens(at: float, what: str, ticket: int = 0, told: Told | None = None) -> None:
            heapq.heappush(events, Event(at, next(order), what, ticket, told))

        happens(now, "send")
        if self.neighbour:
            happens(now + chance.uniform(0, 60 / self.neighbour), "neighbour")
        while done < self.pages:
            event = heapq.heappop(events)
            now, on_the_way = event.at, chance.uniform(*self.latency) / 2
            if event.what == "neighbour":
                self.server.answer(now)
                happens(now + 60 / self.neighbour, "neighbour")
            elif event.what == "send":
                opens = self.gate.opens(now)
                if opens is None:
                    parked.append(event)
                elif opens > now:
                    happens(opens, "send")
                else:
                    happens(now + on_the_way, "arrive", self.gate.enter(now))
            elif event.what == "arrive":
                happens(now + on_the_way, "answer", event.ticket, self.server.answer(now))
            elif event.told:
                self.gate.leave(event.ticket, event.told, now)
                for _ in parked:
                    happens(now, "send")
                parked.clear()
                if event.told.slow_down:
                    self.refused += 1
                    happens(now + max(event.told.wait or 0, chance.uniform(1, 2)), "send")
                    continue
                done, busy = done + 1, busy - 1
                more = min(self.parallel - busy, waiting)
                busy, waiting = busy + more, waiting - more
                for _ in range(more):
                    happens(now, "send")
        self.seconds = now - started
        return self


WAYS_TO_TELL: dict[str, dict[str, Any]] = {
    "at_a_refusal": {},
    "at_a_refusal_as_laravel_counts": {"seconds": "laravel"},
    "always": {"tells_reset": True},
    "always_as_laravel_counts": {"tells_reset": True, "seconds": "laravel"},
}
LATENCIES = {"near": (0.001, 0.003), "usual": (0.02, 0.3), "far_and_uneven": (0.05, 1.5)}


@pytest.mark.parametrize("tells", WAYS_TO_TELL)
@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("parallel", [1, 4, 8])
@pytest.mark.parametrize("limit", [3, 10, 60, 300])
def test_a_pull_is_as_fast_as_the_servers_limit_allows_and_refused_three_times_at_most(
    limit: int, parallel: int, latency: str, tells: str
) -> None:
    for pages in (limit + 1, 2 * limit + 1, 10 * limit):
        for seed in range(3):
            server = Server(limit, **WAYS_TO_TELL[tells])
            pull = Pull(server, pages, parallel, latency=LATENCIES[latency], seed=seed).run()

            without_limit = pages * sum(LATENCIES[latency]) / 2 / parallel
            assert pull.seconds <= 1.1 * max(60 * pages / limit, without_limit)
            assert pull.refused <= 3


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("parallel", [1, 8])
@pytest.mark.parametrize("limit", [3, 60, 300])
def test_beside_another_user_a_pull_gets_what_that_one_leaves_and_loses_one_race_a_window(
    limit: int, parallel: int, latency: str
) -> None:
    for pages in (limit + 1, 10 * limit):
        server = Server(limit, seconds="laravel")
        pull = Pull(server, pages, parallel, latency=LATENCIES[latency], neighbour=limit / 3).run()

        without_limit = pages * sum(LATENCIES[latency]) / 2 / parallel
        assert pull.seconds <= 1.1 * max(60 * pages / (limit * 2 / 3), without_limit)
        assert pull.refused <= server.windows + 1


def test_a_pull_that_begins_in_the_middle_of_a_window_learns_how_long_it_is_all_the_same() -> None:
    server = Server(60)
    server.answer(960)
    for _ in range(40):
        server.answer(999)

    pull = Pull(server, 600, 8).run()

    assert pull.seconds <= 1.1 * 600
    assert pull.refused <= 3


def test_a_pause_of_the_pull_is_not_taken_for_a_longer_window() -> None:
    gate, server = Gate(), Server(3)

    def ask(at: float) -> None:
        gate.leave(gate.enter(at), server.answer(at), at)

    ask(1_000)
    ask(1_000)
    for _ in range(4):  # the last one is refused, so the window's length is known
        ask(1_100)
    for _ in range(3):
        ask(1_160)

    assert gate.opens(1_160) == 1_160 + 60 + MARGIN


# --- what holds requests back -------------------------------------------------------------------------------------


def fill(gate: Gate, now: float) -> list[int]:
    """Send what may be sent now, 100 requests at most."""
    tickets: list[int] = []
    while len(tickets) < 100 and gate.opens(now) == now:
        tickets.append(gate.enter(now))
    return tickets


@pytest.mark.parametrize("parallel", [1, 8])
def test_a_ceiling_spaces_requests_evenly_however_many_go_at_once(parallel: int) -> None:
    pull = Pull(Server(10**6), 31, parallel, latency=(0.1, 0.2), gate=Gate(60)).run()

    assert 30 <= pull.seconds <= 30.2


def test_no_more_than_half_of_what_the_server_still_allows_is_asked_for_at_once() -> None:
    gate = Gate()

    gate.leave(gate.enter(0), Told(remaining=10), 0)

    assert len(fill(gate, 0)) == 5


def test_nothing_is_held_back_where_the_server_tells_no_limit() -> None:
    gate = Gate()

    gate.leave(gate.enter(0), GOOD, 0)

    assert len(fill(gate, 0)) == WIDEST


def test_the_first_request_after_a_window_goes_alone_and_the_others_after_its_answer() -> None:
    gate = Gate()
    gate.leave(gate.enter(0), Told(remaining=0), 0)
    gate.leave(gate.enter(0), Told(slow_down=True, wait=50, remaining=0), 0)

    assert fill(gate, 49) == []
    (ticket,) = fill(gate, 50)
    gate.leave(ticket, Told(remaining=19), 50)
    assert len(fill(gate, 50)) == 10


def test_a_burst_of_refusals_halves_the_lanes_once() -> None:
    gate = Gate()
    for ticket in [gate.enter(0) for _ in range(8)]:
        gate.leave(ticket, REFUSED, 0)

    assert len(fill(gate, 0)) == 4


def test_each_refusal_of_what_was_sent_since_the_last_one_halves_the_lanes_again() -> None:
    gate = Gate()
    for expected in (4, 2, 1):
        for ticket in [gate.enter(0) for _ in range(2 * expected)]:
            gate.leave(ticket, REFUSED, 0)
        tickets = fill(gate, 0)
        assert len(tickets) == expected
        for ticket in tickets:
            gate.leave(ticket, None, 0)


def test_good_answers_widen_the_lanes_again() -> None:
    gate = Gate()
    for ticket in [gate.enter(0) for _ in range(2)]:
        gate.leave(ticket, REFUSED, 0)
    widths = []
    for _ in range(80):
        tickets = fill(gate, 0)
        widths.append(len(tickets))
        for ticket in tickets:
            gate.leave(ticket, GOOD, 0)

    assert widths[0] == 1
    assert widths == sorted(widths)
    assert widths[-1] == WIDEST


def test_a_request_that_was_refused_alone_was_not_one_too_many_at_once() -> None:
    gate = Gate()

    gate.leave(gate.enter(0), REFUSED, 0)

    assert len(fill(gate, 0)) == WIDEST


def test_a_server_in_maintenance_is_left_alone_by_all_for_as_long_as_it_asks() -> None:
    gate = Gate()

    gate.leave(gate.enter(0), Told(slow_down=True, wait=30), 0)

    assert gate.opens(0) == gate.opens(29) == 30
    assert len(fill(gate, 30)) == WIDEST


def test_an_answer_that_was_overtaken_does_not_bring_back_what_is_used_up() -> None:
    gate = Gate()
    gate.leave(gate.enter(0), Told(remaining=20), 0)
    first, second, *_ = fill(gate, 0)

    gate.leave(second, Told(remaining=10), 0)
    gate.leave(first, Told(remaining=19), 0)

    assert len(fill(gate, 0)) == 0, "8 of the 10 of before are under way"


def test_an_answer_of_a_window_that_is_used_up_says_nothing_about_the_next_one() -> None:
    gate = Gate()
    first, second = gate.enter(0), gate.enter(0)

    gate.leave(first, Told(slow_down=True, wait=60, remaining=0), 0)
    gate.leave(second, Told(remaining=7), 1)

    assert len(fill(gate, 60)) == 1


def test_two_refusals_at_once_tell_the_length_of_a_window_as_one_does() -> None:
    gate = Gate()
    gate.leave(gate.enter(0), Told(remaining=4), 0)
    for ticket in [gate.enter(9), gate.enter(9)]:
        gate.leave(ticket, Told(slow_down=True, wait=50, remaining=0), 10)

    for remaining in (1, 0):
        gate.leave(gate.enter(60), Told(remaining=remaining), 60)

    assert gate.opens(60) == 60 + 60 + MARGIN


def test_a_list_without_a_limit_is_not_held_back_by_that_of_another() -> None:
    gate = Gate()
    gate.leave(gate.enter(0), Told(remaining=0), 0)

    gate.leave(gate.enter(0), GOOD, 0)

    assert len(fill(gate, 0)) == WIDEST


def test_a_wait_of_an_hour_holds_nobody_for_longer_than_a_retry_may_take() -> None:
    gate = Gate()

    gate.leave(gate.enter(0), Told(slow_down=True, wait=3600, remaining=0), 0)

    assert gate.opens(0) == BUDGET


# --- one pace for a connection ------------------------------------------------------------------------------------


def test_all_clients_of_a_connection_keep_to_one_pace_for_as_long_as_there_are_any() -> None:
    pace = shared_pace(settings_of("https://one.example"))
    known = weakref.ref(pace)

    assert shared_pace(settings_of("https://one.example")) is pace
    assert shared_pace(settings_of("https://other.example")) is not pace
    assert shared_pace(settings_of("https://one.example", login="2")) is not pace
    assert shared_pace(settings_of("https://one.example", extra={"requests_per_minute": 9})) is not pace
    del pace
    gc.collect()
    assert known() is None


def own_client(host: str, waits: Waits, **fields: Any) -> GofundoClient:
    """A client that keeps to the connection's shared pace."""
    settings = settings_of(host, **fields)
    return GofundoClient(settings, TokenManager(grant_for(settings), MemoryTokenStore()), sleep=waits)


def test_what_one_client_is_told_holds_back_another_of_the_connection(sandbox: Sandbox, waits: Waits) -> None:
    sandbox.faults.add("status", status=503, retry_after=3600)
    with own_client(sandbox.url, waits) as one, own_client(sandbox.url, waits) as other:
        with pytest.raises(GofundoApiError):
            one.request("GET", "api/donations")
        assert waits == []
        assert other.request("GET", "api/donations").status_code == 200

    (waited,) = waits
    assert BUDGET - 10 < waited <= BUDGET


def test_a_real_pull_under_a_real_limit_is_refused_three_times_at_most(sandbox: Sandbox) -> None:
    sandbox.settings.update({"api_per_minute": 18, "throttle_window": 2.0, "latency_ms": 5})
    settings = settings_of(sandbox.url)
    with GofundoClient(settings, TokenManager(grant_for(settings), MemoryTokenStore())) as client:
        pages = list(walk(client, "api/donations", query_params={"per_page": 1}, parallel=8))

    assert len(pages) == 40
    assert 1 <= sandbox.counters.throttled <= 3


@pytest.mark.parametrize("remaining", ["9" * 5_000, "-1", "many", ""])
def test_a_header_that_is_no_number_is_not_there(remaining: str) -> None:
    answer = requests.Response()
    answer.status_code = 200
    answer.headers["X-RateLimit-Remaining"] = remaining

    assert Told.by(answer) == Told()


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "9" * 400},
        {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"},
        {"X-RateLimit-Reset": "99999999999"},
    ],
    ids=str,
)
def test_a_server_may_ask_to_wait_an_hour_and_no_longer(headers: dict[str, str]) -> None:
    answer = requests.Response()
    answer.status_code = 429
    answer.headers.update(headers)

    told = Told.by(answer)

    assert (told.wait or told.reset) == LONGEST_WAIT == 3600
