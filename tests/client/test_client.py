"""One request: what is sent, what is refused before it is sent, and what its answer means."""

from __future__ import annotations

import json
import pickle
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_gofundo import exceptions
from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoAuthError,
    GofundoConfigError,
    GofundoConnectionError,
    GofundoDriftError,
    GofundoError,
    GofundoRateLimitError,
    GofundoReauthorizationRequired,
    GofundoResponseError,
    GofundoStopped,
    GofundoStorageError,
)
from airflow_provider_gofundo.sandbox import Sandbox
from tests.fixtures import ClientOf, Waits
from tests.leaks import exposed
from tests.replay import Answer, Replay, recorded, replay_server

JSON = {"Content-Type": "application/json"}
GOOD = Answer(body=b'{"data": []}')


# --- what is sent -----------------------------------------------------------------------------------------------


def test_a_request_carries_its_method_parameters_body_and_headers(replay: Replay, client_of: ClientOf) -> None:
    replay.answer(GOOD)

    client_of(replay.url).request(
        "post",
        "/api/donations",
        query_params={"page": 2, "status[]": ["paid", "open"], "nothing": None},
        json={"amount": "12.50"},
        headers={"X-Trace": "abc"},
    )

    (asked,) = replay.resource_requests
    assert (asked.method, asked.path) == ("POST", "/api/donations")
    assert asked.query == {"page": "2", "status[]": "open"}
    assert json.loads(asked.body) == {"amount": "12.50"}
    assert asked.headers["X-Trace"] == "abc"
    assert asked.headers["Authorization"] == "Bearer replayed-access"
    assert asked.headers["User-Agent"].startswith("airflow-provider-gofundo/")


def test_yes_and_no_are_sent_as_php_reads_them(replay: Replay, client_of: ClientOf) -> None:
    replay.answer(GOOD)

    client_of(replay.url).request("GET", "api/donations", query_params={"anonymous": True, "archived": False})

    assert replay.resource_requests[0].query == {"anonymous": "1", "archived": "0"}


@pytest.mark.parametrize("endpoint", ["api/donations", "/api/donations", "{url}/api/donations"])
def test_an_endpoint_is_a_path_below_host(replay: Replay, client_of: ClientOf, endpoint: str) -> None:
    replay.answer(GOOD)

    client_of(f"{replay.url}/fonds").request("GET", endpoint.format(url=f"{replay.url}/fonds"))

    assert replay.resource_requests[0].path == "/fonds/api/donations"


def test_a_netrc_file_never_replaces_the_token(
    replay: Replay, client_of: ClientOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    replay.answer(GOOD)
    client = client_of(replay.url)

    client.request("GET", "api/donations")
    with client.session() as session:
        session.get("api/donations")

    assert requests.utils.get_netrc_auth(replay.url) == ("somebody", "else"), "the file is one"
    assert [asked.headers.get("Authorization") for asked in replay.asked] == [
        None,
        "Bearer replayed-access",
        "Bearer replayed-access",
    ]


def test_a_proxy_of_the_environment_is_not_asked_for_a_sandbox(
    replay: Replay, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    replay.answer(GOOD)

    assert client_of(replay.url).request("GET", "api/donations").status_code == 200


# --- what is refused before it is sent --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("", "endpoint is empty"),
        ("/", "endpoint is empty"),
        (None, "endpoint is empty"),
        ("https://elsewhere.example/api/donations", "endpoint points to elsewhere.example"),
        ("//elsewhere.example/api/donations", "endpoint points to elsewhere.example"),
        ("http://127.0.0.1:1/api/donations", "endpoint points to 127.0.0.1"),
        ("api/donations?page=2", "endpoint holds a query string"),
        ("api/donations#top", "endpoint holds a query string"),
        ("api/../oauth/token", "endpoint is not a plain path"),
        ("..", "endpoint is not a plain path"),
        ("api/%2e%2E/oauth/token", "endpoint is not a plain path"),
        ("api/donations%2F..%2F..", "endpoint is not a plain path"),
        ("api/do nations", "endpoint is not a plain path"),
        ("api/donations\r\nX-Header: 1", "endpoint is not a plain path"),
        ("api\\donations", "endpoint is not a plain path"),
    ],
)
def test_an_endpoint_that_is_no_path_below_host_is_refused(
    replay: Replay, client_of: ClientOf, endpoint: Any, says: str
) -> None:
    with pytest.raises(GofundoConfigError, match=says):
        client_of(replay.url).request("GET", endpoint)

    assert replay.asked == []


@pytest.mark.parametrize("endpoint", ["https://elsewhere.example/api", "http://127.0.0.1:1/api", "//elsewhere/api"])
def test_the_session_sends_its_token_to_no_other_host(client: Any, endpoint: str) -> None:
    with client.session() as session, pytest.raises(GofundoConfigError, match="points to"):
        session.get(endpoint)


@pytest.mark.parametrize("base", ["http://{host}", "http://{host}/fonds"])
def test_a_host_that_only_begins_like_ours_is_another_host(replay: Replay, client_of: ClientOf, base: str) -> None:
    host = replay.url.removeprefix("http://")
    client = client_of(base.format(host=host))

    for lookalike in (f"http://{host}9/api", f"http://{host}.evil.example/api", f"http://{host}@evil.example/api"):
        with pytest.raises(GofundoConfigError):
            client.request("GET", lookalike)

    assert replay.asked == []


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
def test_an_authorization_header_of_the_callers_is_refused(replay: Replay, client_of: ClientOf, name: str) -> None:
    with pytest.raises(GofundoConfigError, match="headers may not hold Authorization"):
        client_of(replay.url).request("GET", "api/donations", headers={name: "Basic x"})

    assert replay.asked == []


@pytest.mark.parametrize(
    "sent",
    [
        {"headers": {"X-Trace": "line-one\r\nX-More: 1"}},
        {"headers": {"X-Trace": " line-one"}},
        {"headers": {"X-Trace": "line-one …"}},
        {"json": {"line-one": float("nan")}},
    ],
)
def test_what_cannot_be_sent_is_refused_without_its_value(
    replay: Replay, client_of: ClientOf, sent: dict[str, Any]
) -> None:
    with pytest.raises(GofundoConfigError, match="GET api/donations cannot be sent") as caught:
        client_of(replay.url).request("GET", "api/donations", **sent)

    assert exposed(caught.value, ["line-one"]) == []
    assert replay.resource_requests == []


# --- what an answer means ---------------------------------------------------------------------------------------


def test_an_answer_without_a_body_is_no_error(sandbox: Sandbox, client_of: ClientOf) -> None:
    answer = client_of(sandbox.url).request("DELETE", "api/donations/1")

    assert (answer.status_code, answer.content) == (204, b"")


def test_head_answers_with_headers_alone(sandbox: Sandbox, client_of: ClientOf) -> None:
    assert client_of(sandbox.url).request("HEAD", "api/donations").headers["Content-Type"] == "application/json"


def test_what_is_no_json_may_be_asked_for_by_name(replay: Replay, client_of: ClientOf) -> None:
    replay.answer(Answer(200, {"Content-Type": "text/csv"}, b"id;amount\n"))

    answer = client_of(replay.url).request("GET", "api/export", headers={"accept": "text/csv"})

    assert answer.text == "id;amount\n"
    assert replay.resource_requests[0].headers["accept"] == "text/csv"


def test_html_is_named_by_kind_and_length_and_nothing_of_it_is_told(replay: Replay, client_of: ClientOf) -> None:
    page = b"<html><title>Portal of Zeldzaam</title></html>"
    replay.answer(Answer(200, {"Content-Type": "text/html; charset=UTF-8"}, page))

    with pytest.raises(GofundoResponseError) as caught:
        client_of(replay.url).request("GET", "api/donations", query_params={"email": "bo@example.org"})

    text = str(caught.value)
    assert text.startswith(f"GET api/donations answered 200 with no JSON: text/html, {len(page)} bytes.")
    assert "Check endpoint, and Host" in text
    assert "Zeldzaam" not in text
    assert "bo@example.org" not in text
    assert (caught.value.status, caught.value.method, caught.value.path) == (200, "GET", "api/donations")
    assert caught.value.retry_in is None


def test_invalid_data_is_named_by_field_and_quoted_only_in_the_errors_attributes(
    replay: Replay, client_of: ClientOf
) -> None:
    replay.answer(recorded("d14_validation_error_json"))

    with pytest.raises(GofundoApiError) as caught:
        client_of(replay.url).request("POST", "api/donations", json={})

    error = caught.value
    assert (error.status, error.method, error.path) == (422, "POST", "api/donations")
    assert error.message == "The given data was invalid."
    assert error.errors["amount"] == ["The amount must be at least 1."]
    assert set(error.errors) == {"project_id", "amount", "donor_name"}
    for field in error.errors:
        assert field in str(error)
    for words in ("must be at least", "is required", "given data"):
        assert words not in str(error)


@pytest.mark.parametrize(
    ("case", "status", "advice"),
    [
        ("d18_route_not_found_json", 404, "check endpoint, and Host"),
        ("d16_model_not_found_json", 404, "check endpoint, and Host"),
        ("d21_forbidden_json", 403, "check the client's rights in Gofundo, and Scope"),
        ("d11_missing_scope_client_mw_json", 403, "and Scope"),
        ("d19_method_not_allowed_json", 405, "does not know this method"),
        ("d20_server_error_html", 500, "The server failed"),
        ("d22_maintenance_retry_html", 503, "maintenance"),
    ],
)
def test_an_error_status_is_told_with_what_to_do_and_without_the_servers_words(
    replay: Replay, client_of: ClientOf, case: str, status: int, advice: str
) -> None:
    replay.answer(recorded(case))

    with pytest.raises(GofundoApiError) as caught:
        client_of(replay.url, extra={"max_attempts": 1}).request("GET", "api/donations")

    assert caught.value.status == status
    assert str(caught.value).startswith(f"GET api/donations answered {status}. ")
    assert advice in str(caught.value)
    assert "No query results" not in str(caught.value)


@pytest.mark.parametrize(
    "body", [b'{"message": 7, "errors": [1]}', b'"text"', b"[1]", b"", b'{"errors": {"a": "b"}}']
)
def test_an_error_status_with_a_strange_body_is_the_error_of_its_status(
    replay: Replay, client_of: ClientOf, body: bytes
) -> None:
    replay.answer(Answer(422, JSON, body))

    with pytest.raises(GofundoApiError) as caught:
        client_of(replay.url).request("POST", "api/donations")

    assert caught.value.status == 422
    assert "check query_params and json" in str(caught.value) or body == b'{"errors": {"a": "b"}}'


def test_a_name_that_does_not_resolve_is_told_as_such(client_of: ClientOf) -> None:
    client = client_of("https://nowhere.invalid", extra={"max_attempts": 1})

    with pytest.raises(GofundoConnectionError, match=r"No such host: https://nowhere\.invalid .*Check Host"):
        client.request("GET", "api/donations")


# --- TLS --------------------------------------------------------------------------------------------------------


@pytest.fixture
def private(certificate: Path) -> Iterator[Replay]:
    """A server with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with replay_server(context) as running:
        running.answer(GOOD)
        yield running


def test_an_untrusted_certificate_points_to_ca_bundle_and_nothing_is_sent(
    private: Replay, client_of: ClientOf, waits: Waits
) -> None:
    with pytest.raises(GofundoConnectionError, match="name the private CA in CA bundle") as caught:
        client_of(private.url).request("GET", "api/donations")

    assert caught.value.retry_in is None
    assert waits == []
    assert private.asked == []


def test_with_its_ca_bundle_a_private_server_is_trusted_for_all_requests(
    private: Replay, client_of: ClientOf, certificate: Path
) -> None:
    client = client_of(private.url, extra={"ca_bundle": str(certificate)})

    assert client.request("GET", "api/donations").status_code == 200
    with client.session() as session:
        assert session.get("api/donations").status_code == 200
    assert len(private.token_requests) == 1


def test_the_connections_ca_bundle_goes_before_that_of_the_environment(
    private: Replay, client_of: ClientOf, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", requests.utils.DEFAULT_CA_BUNDLE_PATH)

    client = client_of(private.url, extra={"ca_bundle": str(certificate)})

    assert client.request("GET", "api/donations").status_code == 200


def test_a_certificate_of_another_name_is_not_trusted(
    private: Replay, client_of: ClientOf, certificate: Path
) -> None:
    client = client_of(private.url.replace("127.0.0.1", "localhost"), extra={"ca_bundle": str(certificate)})

    with pytest.raises(GofundoConnectionError, match="TLS with"):
        client.request("GET", "api/donations")

    assert private.asked == []


# --- errors travel between processes ----------------------------------------------------------------------------

ERRORS: list[Callable[[], GofundoError]] = [
    lambda: GofundoError("text", retry_in=2),
    lambda: GofundoConfigError("text"),
    lambda: GofundoConnectionError("text", answer_lost=True, retry_in=0),
    lambda: GofundoAuthError("text", error="invalid_client", hint="h", status=401),
    lambda: GofundoReauthorizationRequired("text", error="invalid_grant", hint="h", status=400),
    lambda: GofundoApiError("text", status=422, method="POST", path="p", message="m", errors={"a": ["b"]}),
    lambda: GofundoRateLimitError("text", status=429, method="GET", path="p", retry_in=60),
    lambda: GofundoStorageError("text"),
    lambda: GofundoDriftError("text"),
    lambda: GofundoStopped("text"),
    lambda: GofundoResponseError("text", status=200, method="GET", path="p", retry_in=0),
]


@pytest.mark.parametrize("make", ERRORS, ids=lambda make: type(make()).__name__)
def test_an_error_survives_pickling_with_all_it_knows(make: Callable[[], GofundoError]) -> None:
    error = make()

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == (str(error), vars(error))


def test_every_error_of_the_family_is_among_them() -> None:
    family = {
        thing for thing in vars(exceptions).values() if isinstance(thing, type) and issubclass(thing, GofundoError)
    }

    assert family == {type(make()) for make in ERRORS}


@pytest.mark.parametrize(
    ("base", "path"), [("", "/api/list"), ("/sub", "/sub/api/list"), ("/a%7eb/./c", "/a~b/c/api/list")]
)
def test_the_path_of_host_comes_before_the_endpoint(
    base: str, path: str, replay: Replay, client_of: ClientOf
) -> None:
    replay.answer(Answer())

    answer = client_of(f"{replay.url}{base}").request("GET", "api/list", query_params={"a": "b c"})

    assert answer.ok
    assert replay.resource_requests[-1].path == path
    assert replay.resource_requests[-1].query == {"a": "b c"}
