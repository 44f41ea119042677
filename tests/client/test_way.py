"""What stands on the way to the server, and what a hostile one answers, is told without quoting it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from airflow_provider_gofundo import adapter
from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoConnectionError, GofundoResponseError
from airflow_provider_gofundo.transport import ApiSession
from tests.fixtures import ClientOf, settings_of
from tests.replay import Answer, Replay


@pytest.mark.parametrize("proxy", ["http://", "http://[bad", "foo://user:pass-word@127.0.0.1:1"])
def test_a_proxy_that_is_no_address_is_told_without_its_password(
    proxy: str, monkeypatch: pytest.MonkeyPatch, client_of: ClientOf
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    with pytest.raises(GofundoConfigError, match="HTTPS_PROXY") as error:
        client_of("https://gofundo.invalid").request("GET", "api/donations")
    assert "pass-word" not in str(error.value)


def test_a_ca_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, client_of: ClientOf) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/not/there.pem")

    with pytest.raises(GofundoConfigError, match="REQUESTS_CA_BUNDLE is not there"):
        client_of("https://127.0.0.1:9").request("GET", "api/donations")


@pytest.mark.parametrize(
    "headers",
    [{"Location": "https://evil\x1bc.example/", "Content-Type": "text/html"}, {"Content-Type": "text/html\x1bc"}],
)
def test_what_a_terminal_would_obey_is_not_repeated(
    headers: dict[str, str], replay: Replay, client_of: ClientOf
) -> None:
    replay.answer(Answer(status=302 if "Location" in headers else 200, headers=headers, body=b"<html>"))

    with pytest.raises(GofundoResponseError) as error:
        client_of(replay.url).request("GET", "api/donations")
    assert str(error.value).isprintable()


def test_an_answer_that_is_too_large_is_asked_for_once(
    replay: Replay, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "LARGEST", 1_048_576)
    replay.answer(*[Answer(body=b'"' + b"x" * 1_200_000 + b'"')] * 2)

    with pytest.raises(GofundoResponseError, match="more than 1 MB"):
        client_of(replay.url).request("GET", "api/donations")
    assert len(replay.resource_requests) == 1


def test_a_stop_cuts_what_is_under_way_through_a_proxy_with_tls(through_proxy: Path) -> None:
    arrived = threading.Event()

    with proxied(through_proxy, arrived, tls=True) as session, ThreadPoolExecutor(1) as elsewhere:
        asked = elsewhere.submit(post, session)
        assert arrived.wait(30)
        session.abort()
        with pytest.raises(GofundoConnectionError):
            asked.result(30)


@pytest.mark.parametrize("tls", [False, True])
def test_an_answer_lost_behind_a_proxy_is_not_taken_for_a_request_that_was_never_sent(
    tls: bool, through_proxy: Path
) -> None:
    with proxied(through_proxy, None, tls=tls) as session, pytest.raises(GofundoConnectionError) as error:
        post(session)

    assert error.value.answer_lost
    assert error.value.retry_in is None


def test_a_proxy_that_refuses_has_sent_nothing_on(through_proxy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{nobody.getsockname()[1]}")
    session = ApiSession(settings_of("https://127.0.0.1:9"))

    with pytest.raises(GofundoConnectionError) as error:
        post(session)
    session.close()
    assert (error.value.answer_lost, error.value.retry_in) == (False, 0)


@pytest.fixture
def through_proxy(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certificate that this test trusts in a proxy and in the server behind it."""
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return certificate


def post(session: ApiSession) -> None:
    session.exchange("POST", "https://127.0.0.1:9/api/donations", params={}, json={"a": 1}, headers={})


@contextmanager
def proxied(certificate: Path, arrived: threading.Event | None, *, tls: bool) -> Iterator[ApiSession]:
    """A session behind a proxy. The server there is silent, or hangs up where nobody is told of what `arrived`."""
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as proxy:
        scheme = "https" if tls else "http"
        patch.setenv("HTTPS_PROXY", f"{scheme}://127.0.0.1:{proxy.getsockname()[1]}")
        session = ApiSession(settings_of("https://127.0.0.1:9", timeout=300))
        with ThreadPoolExecutor(1) as elsewhere:
            ended = elsewhere.submit(tunnel, proxy, certificate, arrived, tls=tls)
            yield session
            session.close()
            ended.result(30)


def tunnel(proxy: socket.socket, certificate: Path, arrived: threading.Event | None, *, tls: bool) -> None:
    """Be a proxy, and behind it the server, which speaks TLS within."""
    there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    there.load_cert_chain(certificate)
    connection, _ = proxy.accept()
    with there.wrap_socket(connection, server_side=True) if tls else connection as outer:
        outer.recv(65536)
        outer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        to_server, from_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        inner = there.wrap_bio(to_server, from_server, server_side=True)
        while chunk := outer.recv(65536):
            to_server.write(chunk)
            with suppress(ssl.SSLWantReadError):
                inner.do_handshake()
                inner.read()
                if arrived is None:
                    return
                arrived.set()
            outer.sendall(from_server.read())
