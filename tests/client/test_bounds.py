"""No answer takes for ever, none is without end, and none carries the token away."""

from __future__ import annotations

import pickle
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_gofundo.exceptions import GofundoAuthError, GofundoConnectionError
from airflow_provider_gofundo.sandbox import Sandbox
from tests.fixtures import ClientOf, settings_of


@pytest.fixture
def dripping() -> Iterator[str]:
    """A server that promises a long answer and sends a byte of it now and then, until nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(
                        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n"
                    )
                    try:
                        for _ in range(200):
                            connection.sendall(b" ")
                            time.sleep(0.02)
                    except OSError:
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_server_that_sends_a_byte_now_and_then_does_not_hold_a_request_for_ever(
    dripping: str, client_of: ClientOf
) -> None:
    client = client_of(dripping, extra={"timeout": 0.1, "max_attempts": 1})

    with pytest.raises(GofundoConnectionError, match=r"No answer within 0.1 s"):
        client.request("GET", "api/donations")


def test_an_answer_that_is_kept_or_pickled_holds_no_token(sandbox: Sandbox, client_of: ClientOf) -> None:
    client = client_of(sandbox.url)

    response = client.request("GET", "api/donations")

    assert "Authorization" not in response.request.headers
    assert client.tokens.token().access_token.encode() not in pickle.dumps(response)


def test_settings_are_not_pickled() -> None:
    with pytest.raises(TypeError, match="hold secrets"):
        pickle.dumps(settings_of())


def test_threads_that_wait_for_a_login_share_its_failure(sandbox: Sandbox, client_of: ClientOf) -> None:
    sandbox.faults.add("slow", "/oauth/token", seconds=0.3, times=None)
    client = client_of(sandbox.url, password="wrong")

    def ask(_: int) -> str:
        with pytest.raises(GofundoAuthError) as caught:
            client.request("GET", "api/donations")
        return str(caught.value.error)

    with ThreadPoolExecutor(20) as pool:
        errors = list(pool.map(ask, range(20)))

    assert errors == ["invalid_client"] * 20
    assert sandbox.counters.grants["client_credentials"] <= 2
