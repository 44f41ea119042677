"""No exchange takes for ever, wherever its answer trickles, and the next one has all its time again."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_provider_gofundo import adapter
from airflow_provider_gofundo.exceptions import GofundoConnectionError
from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.settings import Settings
from airflow_provider_gofundo.transport import ApiSession
from tests.fixtures import ClientOf, settings_of
from tests.replay import TRICKLING, Answer, Replay, replay_server

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=["http", "https"])
def anywhere(request: pytest.FixtureRequest, certificate: Path) -> Iterator[Replay]:
    """A server, with TLS and without."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with replay_server(context if request.param == "https" else None) as server:
        yield server


@pytest.fixture
def one_second(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> dict[str, object]:
    """What a connection says so that an exchange may take a second."""
    monkeypatch.setattr(adapter, "PATIENCE", 1)
    return {"timeout": 1, "ca_bundle": str(certificate)}


def session_of(settings: Settings) -> ApiSession:
    return ApiSession(settings, token={"access_token": "a-token"})


@pytest.mark.parametrize("where", TRICKLING)
def test_an_answer_that_trickles_ends_and_the_next_request_is_answered(
    where: str, anywhere: Replay, one_second: dict[str, object]
) -> None:
    anywhere.answer(TRICKLING[where], Answer())

    with session_of(settings_of(anywhere.url, extra=one_second)) as session:
        with pytest.raises(
            GofundoConnectionError, match=r"No answer within 1 s from .* \(POST api/donations\)"
        ) as error:
            session.post("api/donations", json={"amount": 1})
        assert session.get("api/donations").ok

    assert error.value.answer_lost
    assert error.value.retry_in is None
    assert [asked.method for asked in anywhere.resource_requests] == ["POST", "GET"]


def test_a_proxy_whose_answer_trickles_is_left_too(
    replay: Replay, one_second: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", replay.url)
    replay.answer(TRICKLING["headers"])

    session = session_of(settings_of("https://127.0.0.1:9", extra=one_second))
    with session, pytest.raises(GofundoConnectionError, match="No answer within 1 s"):
        session.get("api/donations")

    assert [asked.method for asked in replay.asked] == ["CONNECT"]


def test_it_is_ten_times_timeout(replay: Replay, client_of: ClientOf) -> None:
    replay.answer(TRICKLING["body"])
    client = client_of(replay.url, extra={"timeout": 0.1, "max_attempts": 1})

    with pytest.raises(GofundoConnectionError, match=r"No answer within 0.1 s"):
        client.request("GET", "api/donations")


def test_a_connection_that_is_kept_open_gives_every_exchange_its_own_time(
    sandbox: Sandbox, one_second: dict[str, object]
) -> None:
    longer = time.monotonic() + 1.1
    with ApiSession(settings_of(sandbox.url, extra=one_second), token={"access_token": sandbox.token()}) as session:
        while time.monotonic() < longer:
            assert session.get("api/donations").ok

    assert sandbox.counters.connections_max == 1


@pytest.mark.parametrize("head", ["HTTP/1.1 201", "HTTP/1.1 201 Created\r\n", "HTTP/1.1 201 Created\r\nContent-Ty"])
def test_an_answer_that_ends_within_its_headers_is_none(head: str) -> None:
    def serve(listener: socket.socket) -> None:
        wire, _ = listener.accept()
        with wire:
            wire.recv(65536)
            wire.sendall(head.encode())

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        pool.submit(serve, listener)
        with (
            session_of(settings_of(f"http://127.0.0.1:{listener.getsockname()[1]}")) as session,
            pytest.raises(GofundoConnectionError, match="Cut off") as error,
        ):
            session.post("api/donations", json={"amount": 1})

    assert error.value.answer_lost
