"""A stop, from another thread or a signal, ends at once whatever is under way, and leaves no thread behind."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.exceptions import GofundoConnectionError, GofundoStopped
from airflow_provider_gofundo.oauth.grants import grant_for
from airflow_provider_gofundo.oauth.manager import TokenManager
from airflow_provider_gofundo.oauth.store import MemoryTokenStore
from airflow_provider_gofundo.pages.walk import walk
from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.transport import ApiSession
from tests.fixtures import settings_of, until, waiting_client, walking_threads
from tests.leaks import exposed
from tests.replay import Answer, Asked, replay_server

# Seconds; longer than any test may take.
FOREVER = 300


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    """Threads other than the one that stops."""
    with ThreadPoolExecutor(4, thread_name_prefix="elsewhere") as pool:
        yield pool


Waiting = Callable[..., GofundoClient]


@pytest.fixture
def waiting(elsewhere: ThreadPoolExecutor) -> Iterator[Waiting]:
    """Make a client that really waits, though not for longer than the test."""
    made: list[GofundoClient] = []

    def make(host: str, **fields: Any) -> GofundoClient:
        made.append(waiting_client(settings_of(host, **fields)))
        return made[-1]

    yield make
    for client in made:
        client.stop()
        client.__exit__()


def assert_stopped(*under_way: Future[Any]) -> None:
    for future in under_way:
        with pytest.raises(GofundoStopped, match="Stopped"):
            future.result(10)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_that_is_never_answered_ends(
    method: str, sandbox: Sandbox, elsewhere: ThreadPoolExecutor, waiting: Waiting
) -> None:
    sandbox.faults.add("slow", seconds=FOREVER)
    client = waiting(sandbox.url)
    asking = elsewhere.submit(client.request, method, "api/donations")
    until(lambda: not sandbox.faults.waiting)

    client.stop()

    assert_stopped(asking)


def test_a_request_that_is_never_answered_ends_over_tls_too(
    certificate: Path, elsewhere: ThreadPoolExecutor, waiting: Waiting
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    asked, over = threading.Event(), threading.Event()

    def never(_: Asked) -> Answer:
        asked.set()
        over.wait(FOREVER)
        return Answer()

    with replay_server(context) as server:
        server.answer(never)
        client = waiting(server.url, extra={"ca_bundle": str(certificate)})
        asking = elsewhere.submit(client.request, "GET", "api/donations")
        assert asked.wait(10)

        client.stop()

        assert_stopped(asking)
        over.set()


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
def test_an_answer_without_end_ends(connection: str, elsewhere: ThreadPoolExecutor, waiting: Waiting) -> None:
    begun, over = threading.Event(), threading.Event()
    much = b" " * 32 * 1024**2  # more than fits between the two, so whoever has sent it is being read
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {2 * len(much)}\r\nConnection: {connection}\r\n\r\n"

    def serve(listener: socket.socket) -> None:
        wire, _ = listener.accept()
        with wire:
            wire.recv(65536)
            wire.sendall(head.encode() + much)
            begun.set()
            over.wait(FOREVER)

    with socket.create_server(("127.0.0.1", 0)) as listener, replay_server() as logins:
        serving = elsewhere.submit(serve, listener)
        client = waiting(f"http://127.0.0.1:{listener.getsockname()[1]}")
        client.tokens.adopt(waiting(logins.url).tokens.token())
        asking = elsewhere.submit(client.request, "GET", "api/donations")
        assert begun.wait(10)

        client.stop()

        assert_stopped(asking)
        over.set()
        serving.result(10)


def test_all_who_wait_for_the_server_to_allow_more_end(
    sandbox: Sandbox, elsewhere: ThreadPoolExecutor, waiting: Waiting
) -> None:
    sandbox.faults.add("status", status=503, retry_after=FOREVER)
    client = waiting(sandbox.url)
    retrying = elsewhere.submit(client.request, "GET", "api/donations")
    until(lambda: client.traffic.retries)
    pacing = [elsewhere.submit(client.request, "GET", "api/donations") for _ in range(2)]
    until(lambda: client.traffic.waited > 2.5 * FOREVER)

    client.stop()

    assert_stopped(retrying, *pacing)
    assert client.traffic.requests == 1


def test_who_waits_for_the_ceiling_ends(sandbox: Sandbox, elsewhere: ThreadPoolExecutor, waiting: Waiting) -> None:
    client = waiting(sandbox.url, extra={"requests_per_minute": 1})
    client.request("GET", "api/donations")
    pacing = elsewhere.submit(client.request, "GET", "api/donations")
    until(lambda: client.traffic.waited > 50)

    client.stop()

    assert_stopped(pacing)


def test_who_waits_for_the_answer_of_another_ends(
    sandbox: Sandbox, elsewhere: ThreadPoolExecutor, waiting: Waiting
) -> None:
    sandbox.settings.api_per_minute = 3
    client = waiting(sandbox.url)
    client.request("GET", "api/donations")
    sandbox.faults.add("slow", seconds=FOREVER)
    asking = [elsewhere.submit(client.request, "GET", "api/donations") for _ in range(3)]
    until(lambda: not sandbox.faults.waiting)

    client.stop()

    assert_stopped(*asking)
    assert client.traffic.requests == 2


@pytest.mark.parametrize("parallel", [1, 2, 8])
@pytest.mark.parametrize("shape", ["paginate", "simple-paginate", "cursor-paginate"])
def test_a_walk_ends_and_its_threads_with_it(
    shape: str, parallel: int, sandbox: Sandbox, elsewhere: ThreadPoolExecutor, waiting: Waiting
) -> None:
    sandbox.faults.add("slow", after=1, seconds=FOREVER, times=None)
    client = waiting(sandbox.url)
    pages = walk(client, f"api/{shape}/donations", query_params={"per_page": 2}, parallel=parallel)
    walking = elsewhere.submit(list, pages)
    until(lambda: sandbox.counters.in_flight == (1 if shape == "cursor-paginate" else parallel))

    client.stop()

    assert_stopped(walking)
    assert walking_threads() == []


def test_after_a_stop_nothing_is_sent_any_more(sandbox: Sandbox, waiting: Waiting) -> None:
    client = waiting(sandbox.url)
    client.request("GET", "api/donations")
    before = sandbox.counters.total

    client.stop()

    with pytest.raises(GofundoStopped):
        client.request("GET", "api/donations")
    with pytest.raises(GofundoStopped):
        next(walk(client, "api/donations"))
    assert sandbox.counters.total == before


def test_a_client_that_was_stopped_before_it_began_does_not_even_log_in(sandbox: Sandbox, waiting: Waiting) -> None:
    client = waiting(sandbox.url)

    client.stop()

    with pytest.raises(GofundoStopped):
        client.request("GET", "api/donations")
    assert sandbox.counters.total == 0


def test_a_connection_that_is_made_after_the_stop_is_cut(sandbox: Sandbox) -> None:
    with ApiSession(settings_of(sandbox.url), token={"access_token": sandbox.token()}) as session:
        assert session.get("api/donations").status_code == 200

        session.abort()

        for _ in range(2):
            with pytest.raises(GofundoConnectionError, match="Cut off"):
                session.get("api/donations")
    assert sandbox.counters.total == 1


PULLING = """
import signal, sys
from tests.fixtures import settings_of, waiting_client
from airflow_provider_gofundo.pages import walk as walks

walks.WORTHWHILE = 0.0
client = waiting_client(settings_of(sys.argv[1]))
signal.signal(signal.SIGTERM, lambda *_: client.stop())
for page in walks.walk(client, "api/donations", query_params={"per_page": 2}, parallel=int(sys.argv[2])):
    print(page.number, flush=True)
"""


@pytest.mark.parametrize("parallel", [1, 8])
def test_a_process_that_stops_at_sigterm_ends_with_the_error_that_says_so(parallel: int, sandbox: Sandbox) -> None:
    sandbox.faults.add("slow", query="&page=1", seconds=FOREVER, times=None)  # from page 10 on
    command = [sys.executable, "-c", PULLING, sandbox.url, str(parallel)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline().strip() for _ in range(2)] == ["1", "2"]
        until(lambda: sandbox.counters.in_flight == parallel)

        process.send_signal(signal.SIGTERM)

        _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert errors.strip().splitlines()[-1].startswith("airflow_provider_gofundo.exceptions.GofundoStopped: ")


@pytest.mark.parametrize("parallel", [1, 4])
def test_what_a_stop_raises_holds_no_token(
    parallel: int, sandbox: Sandbox, elsewhere: ThreadPoolExecutor, waiting: Waiting
) -> None:
    client = waiting(sandbox.url)
    token = client.tokens.token().access_token
    sandbox.faults.add("slow", seconds=FOREVER, times=None)
    walking = elsewhere.submit(list, walk(client, "api/donations", query_params={"per_page": 2}, parallel=parallel))
    until(lambda: sandbox.counters.in_flight)

    client.stop()

    with pytest.raises(GofundoStopped) as caught:
        walking.result(10)
    assert exposed(caught.value, [token]) == []


def test_a_login_that_is_never_answered_ends(
    sandbox: Sandbox, elsewhere: ThreadPoolExecutor, waiting: Waiting
) -> None:
    sandbox.faults.add("slow", path="/oauth/token", seconds=FOREVER)
    client = waiting(sandbox.url)
    asking = elsewhere.submit(client.request, "GET", "api/donations")
    until(lambda: not sandbox.faults.waiting)

    client.stop()

    assert_stopped(asking)


def test_a_refresh_under_way_goes_on_because_its_answer_holds_the_only_token(
    sandbox: Sandbox, elsewhere: ThreadPoolExecutor
) -> None:
    own = {"login": "2", "password": "secret-password-2"}
    user = {"username": sandbox.user.email, "user_password": sandbox.user.password}
    first = grant_for(settings_of(sandbox.url, **own, extra={"grant_type": "password", **user})).fetch()
    chain = {"grant_type": "refresh_token", "refresh_token": first.refresh_token}
    settings, store = settings_of(sandbox.url, **own, extra=chain), MemoryTokenStore()
    client = GofundoClient(settings, TokenManager(grant_for(settings), store))
    sandbox.faults.add("slow", path="/oauth/token", seconds=0.5)
    asking = elsewhere.submit(client.request, "GET", "api/donations")
    until(lambda: not sandbox.faults.waiting)

    client.stop()

    assert_stopped(asking)
    kept = store.load()
    assert kept is not None
    assert kept.refresh_token


def test_the_wait_for_another_workers_login_ends(sandbox: Sandbox, elsewhere: ThreadPoolExecutor) -> None:
    class Taken:
        life = float(FOREVER)
        asked = 0

        def acquire(self) -> bool:
            self.asked += 1
            return False

        def release(self) -> None:
            """It is not ours."""

    turn = Taken()
    settings = settings_of(sandbox.url)
    client = GofundoClient(settings, TokenManager(grant_for(settings), MemoryTokenStore(), turn=turn))
    asking = elsewhere.submit(client.request, "GET", "api/donations")
    until(lambda: turn.asked)

    client.stop()

    assert_stopped(asking)


def test_an_errand_ends_without_the_client_and_takes_its_parts_along(sandbox: Sandbox, waiting: Waiting) -> None:
    client = waiting(sandbox.url)
    with client.errand() as errand:
        pages = walk(client.within(errand), "api/donations", query_params={"per_page": 2}, parallel=1)
        next(pages)

    with pytest.raises(GofundoStopped):
        next(pages)
    assert client.request("GET", "api/donations").ok
