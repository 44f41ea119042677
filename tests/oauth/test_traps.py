"""
What requests-oauthlib and oauthlib do to a server of this kind, and we don't.

In the order of the traps in the contract. Each test fails when the remedy of its trap is taken away.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import requests

from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoAuthError,
    GofundoConnectionError,
    GofundoError,
    GofundoRateLimitError,
    GofundoResponseError,
)
from airflow_provider_gofundo.hooks.gofundo import GofundoHook
from airflow_provider_gofundo.oauth.grants import grant_for
from airflow_provider_gofundo.oauth.manager import TokenManager
from airflow_provider_gofundo.oauth.store import MemoryTokenStore
from airflow_provider_gofundo.oauth.token import Token, now
from airflow_provider_gofundo.sandbox import Sandbox
from tests.fixtures import ClientOf, Connect, settings_of
from tests.leaks import SECRETS, exposed, leaks
from tests.replay import TOKEN, Answer, Asked, Replay, recorded, replay_server, transcript

JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html; charset=UTF-8"}


def manager(host: str, *, clock: Callable[[], datetime] = now, **fields: Any) -> TokenManager:
    return TokenManager(grant_for(settings_of(host, **fields)), MemoryTokenStore(), clock=clock)


def token_answer(access_token: str, expires_in: int = 1_209_600) -> Answer:
    body = {"token_type": "Bearer", "expires_in": expires_in, "access_token": access_token}
    return Answer(body=json.dumps(body).encode())


def bearer(asked: Asked) -> str:
    return asked.headers.get("Authorization", "nothing")


# --- 1: every invalid_request becomes InvalidClientIdError ----------------------------------------------------


@pytest.mark.parametrize(
    "case",
    [
        "b06_missing_client_id", "b18_refresh_missing", "b16_refresh_already_used", "v9_b05_missing_client_secret",
        "v9_b18_refresh_missing", "b01_wrong_client_secret", "v9_b14_password_grant_with_client_not_allowed",
        "b15_invalid_scope", "b10_wrong_user_password", "b08_unsupported_grant_type",
    ],
)  # fmt: skip
def test_a_refused_login_keeps_the_code_the_status_and_the_hint_of_the_server(replay: Replay, case: str) -> None:
    said = transcript(case)["response"]
    replay.tokens = [recorded(case)]

    with pytest.raises(GofundoAuthError) as caught:
        manager(replay.url).token()

    assert caught.value.error == said["body"]["error"]
    assert caught.value.status == said["status"]
    assert caught.value.hint == said["body"].get("hint")
    assert said["body"]["error"] in str(caught.value)
    assert len(replay.asked) == 1, "a refusal is not asked for twice"


# --- 2: everything that is no token becomes MissingTokenError ---------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "status", "retry_in"),
    [
        (recorded("d31_token_throttled"), GofundoRateLimitError, 429, 60),
        (recorded("d23_maintenance_token_endpoint"), GofundoApiError, 503, 60),
        (Answer(503, {**JSON, "Retry-After": "17"}, b""), GofundoApiError, 503, 17),
        (Answer(500, JSON, b'{"message": "Server Error"}'), GofundoApiError, 500, 0),
        (recorded("c14_token_get"), GofundoApiError, 405, None),
        (Answer(200, HTML, b"<html>One moment, please.</html>"), GofundoResponseError, 200, None),
        (recorded("d03_garbage_token_html"), GofundoResponseError, 302, None),
        (Answer(200, JSON, b'{"access_token": "ab'), GofundoResponseError, 200, 0),
        (Answer(200, JSON, b""), GofundoResponseError, 200, 0),
        (Answer(200, JSON, b"[]"), GofundoResponseError, 200, None),
        (Answer(200, JSON, b"null"), GofundoResponseError, 200, None),
    ],
    ids=["429", "503", "503-empty", "500", "405", "html", "302", "broken", "empty", "list", "null"],
)
def test_an_answer_without_a_token_keeps_its_status_and_its_retry_after(
    replay: Replay, answer: Answer, kind: type[GofundoError], status: int, retry_in: float | None
) -> None:
    replay.tokens = [answer]

    with pytest.raises(kind) as caught:
        manager(replay.url).token()

    assert type(caught.value) is kind
    assert caught.value.status == status  # type: ignore[attr-defined]  # all three have one
    assert caught.value.retry_in == retry_in
    assert "oauth/token" in str(caught.value)


def test_a_throttled_login_is_waited_for(replay: Replay, client_of: ClientOf, waits: list[float]) -> None:
    replay.tokens = [recorded("d31_token_throttled"), TOKEN]
    replay.answer(Answer())

    client_of(replay.url).request("GET", "api/donations")

    assert waits == [60]


# --- 3: fetch_token empties the session's token before it asks --------------------------------------------------


def test_no_request_goes_out_without_authorization_while_a_token_is_renewed(
    replay: Replay, client_of: ClientOf
) -> None:
    renewing, all_asked = threading.Event(), threading.Event()
    threads = 12

    def renew(_: Asked) -> Answer:
        renewing.set()
        all_asked.wait(2)  # not longer: the others may also wait for the new token before they ask
        return token_answer("replayed-access-2")

    def resource(asked: Asked) -> Answer:
        if len([a for a in replay.resource_requests if a.path == "/api/donations"]) >= threads:
            all_asked.set()
        return Answer() if bearer(asked) == "Bearer replayed-access-2" else recorded("d03_garbage_token_json")

    replay.tokens = [token_answer("replayed-access-1"), renew]
    replay.answer(Answer(), resource)
    client = client_of(replay.url)
    client.request("GET", "api/first")
    with ThreadPoolExecutor(threads) as pool:
        asking = [pool.submit(client.request, "GET", "api/donations")]
        assert renewing.wait(10)
        asking += [pool.submit(client.request, "GET", "api/donations") for _ in range(threads - 1)]
        answers = [asked.result() for asked in asking]

    assert [answer.status_code for answer in answers] == [200] * threads
    assert {bearer(asked) for asked in replay.resource_requests} == {
        "Bearer replayed-access-1",
        "Bearer replayed-access-2",
    }
    assert len(replay.token_requests) == 2, "one renewal for all threads"


def test_the_earlier_token_survives_a_renewal_that_fails(replay: Replay, client_of: ClientOf) -> None:
    replay.tokens = [token_answer("replayed-access-1"), recorded("d20_server_error_json")]
    replay.answer(recorded("d03_garbage_token_json"), Answer())
    client = client_of(replay.url, extra={"max_attempts": 1})

    with pytest.raises(GofundoApiError):
        client.request("GET", "api/donations")
    client.request("GET", "api/donations")

    assert [bearer(asked) for asked in replay.resource_requests] == ["Bearer replayed-access-1"] * 2


# --- 4: auto-refresh posts the caller's data to the token endpoint ----------------------------------------------


def test_a_token_request_holds_nothing_of_the_request_that_needs_it(replay: Replay, client_of: ClientOf) -> None:
    refused = recorded("d03_garbage_token_json")
    refused.headers["Set-Cookie"] = "laravel_session=of-the-caller; path=/"
    replay.tokens = [token_answer("replayed-access-1"), token_answer("replayed-access-2")]
    replay.answer(refused, recorded("d15_created"))
    sent = {"query_params": {"dry_run": True}, "json": {"donor_name": "Bo"}, "headers": {"X-Trace": "of-the-caller"}}

    answer = client_of(replay.url).request("POST", "api/donations", **sent)  # type: ignore[arg-type]  # one each

    assert answer.status_code == 201
    for asked in replay.token_requests:
        assert asked.form == {
            "grant_type": "client_credentials",
            "client_id": "1",
            "client_secret": "secret-machine-1",
        }
        assert asked.query == {}
        assert "of-the-caller" not in str(asked.headers)
    first, second = replay.resource_requests
    assert (first.query, json.loads(first.body)) == ({"dry_run": "1"}, {"donor_name": "Bo"})
    assert (second.query, second.body) == (first.query, first.body)
    assert bearer(second) == "Bearer replayed-access-2"


# --- 5: expiry without leeway, and a clock that starts again at each load ---------------------------------------


def test_a_token_is_renewed_shortly_before_it_expires_and_not_earlier(replay: Replay) -> None:
    replay.tokens = [token_answer("replayed-access-1"), token_answer("replayed-access-2")]
    passed = timedelta()
    tokens = manager(replay.url, clock=lambda: datetime.now(timezone.utc) + passed)

    first = tokens.token()
    passed = timedelta(days=14, seconds=-60)
    shortly_before = tokens.token()
    passed = timedelta(days=14, seconds=-10)
    at_the_end = tokens.token()

    assert (shortly_before.access_token, at_the_end.access_token) == ("replayed-access-1", "replayed-access-2")
    assert first.expires_at is not None
    assert abs(first.expires_at - datetime.now(timezone.utc) - timedelta(days=14)) < timedelta(minutes=1)


def test_a_stored_token_is_as_old_as_it_is() -> None:
    asked_at = datetime(2026, 1, 1, tzinfo=timezone.utc)
    answer = {"token_type": "Bearer", "expires_in": 1_209_600, "access_token": "replayed-access"}

    loaded = pickle.loads(pickle.dumps(Token.from_answer(answer, issued_at=asked_at)))

    assert loaded.expires_at == datetime(2026, 1, 15, tzinfo=timezone.utc)
    assert loaded.usable(asked_at + timedelta(days=13))
    assert not loaded.usable(asked_at + timedelta(days=15))


@pytest.mark.parametrize("expires_in", [1, 5, 59])
def test_a_token_that_lives_for_seconds_can_be_used_once_it_is_there(expires_in: int) -> None:
    asked_at = datetime(2026, 1, 1, tzinfo=timezone.utc)

    token = Token.from_answer({"access_token": "replayed-access", "expires_in": expires_in}, issued_at=asked_at)

    assert token.usable(asked_at + timedelta(seconds=expires_in / 2))
    assert not token.usable(asked_at + timedelta(seconds=expires_in))


# --- 6: the session's scope is not sent -------------------------------------------------------------------------


def test_the_connections_scope_is_asked_for(replay: Replay) -> None:
    manager(replay.url, extra={"scope": "read-donations write-donations"}).token()

    (asked,) = replay.token_requests
    assert asked.form["scope"] == "read-donations write-donations"


@pytest.mark.parametrize("scope", [None, ""])
def test_an_empty_scope_is_not_sent(replay: Replay, scope: str | None) -> None:
    manager(replay.url, extra={"scope": scope}).token()

    (asked,) = replay.token_requests
    assert "scope" not in asked.form


def test_a_scope_opens_what_needs_it(sandbox: Sandbox, client_of: ClientOf) -> None:
    with_scope = client_of(sandbox.url, extra={"scope": "read-donations"})

    assert with_scope.request("GET", "api/scoped/donations").status_code == 200
    with pytest.raises(GofundoApiError) as caught:
        client_of(sandbox.url).request("GET", "api/scoped/donations")
    assert caught.value.status == 403
    assert "Scope" in str(caught.value)


# --- 7: Accept: */*, and redirects are followed -----------------------------------------------------------------


def test_every_request_asks_for_json_first(replay: Replay, connect: Connect) -> None:
    connect(replay.url)
    hook = GofundoHook()
    replay.answer(Answer(body=b"[]"))

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        hook.request(method, "api/donations", headers={"X-Trace": "1"})
    list(hook.pages("api/donations"))
    with hook.client, hook.get_conn() as session:
        session.get("api/donations")

    assert len(replay.resource_requests) == 7
    assert {asked.headers["Accept"] for asked in replay.asked} == {"application/json"}


@pytest.fixture
def elsewhere() -> Iterator[Replay]:
    """A second server, which nobody should ask anything."""
    with replay_server() as running:
        running.answer(Answer())
        yield running


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_an_error_and_not_followed(
    replay: Replay, elsewhere: Replay, client_of: ClientOf, status: int
) -> None:
    replay.answer(Answer(status, {"Location": f"{elsewhere.url}/api/donations?of=who"}, b""))

    with pytest.raises(GofundoResponseError, match="redirected") as caught:
        client_of(replay.url).request("GET", "api/donations")

    assert caught.value.status == status
    assert "of=who" not in str(caught.value)
    assert elsewhere.asked == []


def test_a_redirect_to_the_login_page_is_an_error_and_not_followed(sandbox: Sandbox, client_of: ClientOf) -> None:
    sandbox.faults.add("login_redirect")

    with pytest.raises(GofundoResponseError, match=r"redirected to .*/login") as caught:
        client_of(sandbox.url).request("POST", "api/donations", json={"project_id": 1})

    assert caught.value.status == 302
    assert "GET /login" not in sandbox.counters.requests


def test_a_redirected_login_takes_the_secret_nowhere(replay: Replay, elsewhere: Replay) -> None:
    replay.tokens = [Answer(307, {"Location": f"{elsewhere.url}/oauth/token"}, b"")]

    with pytest.raises(GofundoResponseError, match="redirected"):
        manager(replay.url).token()

    assert elsewhere.asked == []


def test_the_session_of_get_conn_follows_no_redirect(replay: Replay, elsewhere: Replay, connect: Connect) -> None:
    connect(replay.url)
    replay.answer(Answer(302, {"Location": f"{elsewhere.url}/api/donations"}, b""))

    with GofundoHook().get_conn() as session, pytest.raises(GofundoResponseError, match="redirected"):
        session.get("api/donations")

    assert elsewhere.asked == []


# --- 8: no default timeout --------------------------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.timeout(10)
def test_a_login_that_is_never_answered_ends_within_the_timeout(silent: str) -> None:
    with pytest.raises(GofundoConnectionError, match=r"No answer within 0\.2 s") as caught:
        manager(silent, extra={"timeout": 0.2}).token()

    assert caught.value.answer_lost


@pytest.mark.timeout(10)
@pytest.mark.parametrize("through", ["client", "get_conn"])
def test_a_request_that_is_never_answered_ends_within_the_timeout(
    replay: Replay, client_of: ClientOf, through: str
) -> None:
    with ExitStack() as at_the_end:
        over = threading.Event()
        at_the_end.callback(over.set)

        def never(_: Asked) -> Answer:
            over.wait(20)
            return Answer(drop=True)

        replay.answer(never)
        client = client_of(replay.url, extra={"timeout": 0.2, "max_attempts": 1})
        session = at_the_end.enter_context(client.session())

        with pytest.raises(GofundoConnectionError, match=r"No answer within 0\.2 s"):
            client.request("GET", "api/donations") if through == "client" else session.get("api/donations")


# --- 9: the loggers print every secret, and exceptions carry the request ----------------------------------------


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What is logged from here on, with every logger at DEBUG."""
    loggers = [one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    before = [(one, one.level, one.disabled) for one in loggers]
    for one in loggers:
        one.setLevel(logging.DEBUG)
        one.disabled = False
    caplog.set_level(logging.DEBUG)
    yield lambda: [f"{record.name}: {caplog.handler.format(record)}" for record in caplog.records]
    for one, level, disabled in before:
        one.setLevel(level)
        one.disabled = disabled


def test_nothing_secret_is_logged_at_debug(
    replay: Replay, connect: Connect, everything_logged: Callable[[], list[str]]
) -> None:
    connect(replay.url)
    replay.tokens = [token_answer("replayed-access-1"), token_answer("replayed-access-2")]
    replay.answer(recorded("d03_garbage_token_json"), recorded("d20_server_error_json"), Answer(body=b"[]"))
    hook = GofundoHook()

    with hook.client, hook.get_conn() as session:
        hook.request("GET", "api/donations", query_params={"email": "donor1@example.org"})
        session.get("api/donations", params={"email": "donor1@example.org"})
        session.post("api/donations", json={"donor_name": "Zoë Voorbeeld"})

    lines = everything_logged()
    assert any("Next try" in line for line in lines), "something is logged"
    assert leaks(lines, SECRETS) == []


def test_other_peoples_use_of_the_same_libraries_is_still_logged(
    replay: Replay, client_of: ClientOf, everything_logged: Callable[[], list[str]]
) -> None:
    replay.answer(Answer())
    client_of(replay.url).request("GET", "api/donations")

    logging.getLogger("requests_oauthlib.oauth2_session").debug("somebody else's line")

    assert [line for line in everything_logged() if "somebody else's line" in line]


TROUBLE: dict[str, Callable[[Replay], None]] = {
    "refused login": lambda replay: replay.tokens.insert(0, recorded("b01_wrong_client_secret")),
    "throttled login": lambda replay: replay.tokens.insert(0, recorded("d31_token_throttled")),
    "login answered with HTML": lambda replay: replay.tokens.insert(0, Answer(200, HTML, b"<html>")),
    "login answered with broken JSON": lambda replay: replay.tokens.insert(0, Answer(200, JSON, b'{"acc')),
    "login answered with no token": lambda replay: replay.tokens.insert(0, Answer(200, JSON, b'{"token_type": 1}')),
    "login answered with a strange expiry": lambda replay: replay.tokens.insert(
        0, Answer(200, JSON, b'{"access_token": "replayed-access", "expires_in": "soon"}')
    ),
    "login cut off": lambda replay: replay.tokens.insert(0, Answer(drop=True)),
    "login redirected": lambda replay: replay.tokens.insert(0, recorded("d03_garbage_token_html")),
    "request cut off": lambda replay: replay.answer(Answer(drop=True)),
    "answer cut short": lambda replay: replay.answer(Answer(body=b"{", length=100)),
    "request redirected": lambda replay: replay.answer(recorded("d03_garbage_token_html")),
    "token refused": lambda replay: replay.answer(recorded("d03_garbage_token_json")),
    "data refused": lambda replay: replay.answer(
        Answer(422, JSON, b'{"message": "m", "errors": {"email": ["donor1@example.org is taken."]}}')
    ),
    "throttled": lambda replay: replay.answer(recorded("d13_throttled_json")),
    "server error": lambda replay: replay.answer(recorded("d20_server_error_html")),
    "HTML": lambda replay: replay.answer(Answer(200, HTML, b"<html>donor1@example.org</html>")),
    "broken JSON": lambda replay: replay.answer(Answer(200, JSON, b'{"email": "donor1@example.org')),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_no_error_holds_a_request_or_a_secret(replay: Replay, client_of: ClientOf, trouble: str) -> None:
    TROUBLE[trouble](replay)
    client = client_of(replay.url, extra={"max_attempts": 1})

    with pytest.raises(GofundoError) as caught:
        client.request("POST", "api/donations", json={"name": "x"}, query_params={"key": "query-secret"})

    # The server's own words about a 422 are there for the code that asks for them.
    allowed = ["a text with a secret"] if trouble == "data refused" else []
    assert exposed(caught.value, ["query-secret"]) == allowed
    assert leaks([str(caught.value), repr(caught.value)], [*SECRETS, "query-secret"]) == []


@pytest.mark.parametrize("trouble", [name for name in TROUBLE if "login" in name])
def test_the_frames_of_a_failed_login_hold_no_secret(replay: Replay, trouble: str) -> None:
    TROUBLE[trouble](replay)

    with pytest.raises(GofundoError) as caught:
        manager(replay.url).token()

    for entry in caught.traceback:
        values = list(entry.frame.f_locals.values())
        assert leaks(map(repr, values), ["secret-machine-1", "replayed-access"]) == []
        assert not [value for value in values if isinstance(value, (requests.PreparedRequest, requests.Response))]


def test_no_error_of_get_conn_holds_a_request_or_a_secret(replay: Replay, connect: Connect) -> None:
    connect(replay.url)
    replay.answer(Answer(drop=True))

    with GofundoHook().get_conn() as session, pytest.raises(GofundoConnectionError) as caught:
        session.post("api/donations", json={"name": "x"}, params={"key": "query-secret"})

    assert exposed(caught.value) == []
    assert "query-secret" not in str(caught.value)


# --- 10: http needs a switch that holds for the whole process ---------------------------------------------------


def test_a_sandbox_over_http_needs_no_switch_of_oauthlib(replay: Replay, connect: Connect) -> None:
    assert "OAUTHLIB_INSECURE_TRANSPORT" not in os.environ, "nor did anything imported so far set it"
    connect(replay.url)
    seen: list[str | None] = []

    def remember(answer: Answer) -> Callable[[Asked], Answer]:
        def respond(_: Asked) -> Answer:
            seen.append(os.environ.get("OAUTHLIB_INSECURE_TRANSPORT"))
            return answer

        return respond

    replay.tokens = [remember(TOKEN)]
    replay.answer(remember(Answer(body=b"[]")))
    hook = GofundoHook()

    with hook.client, hook.get_conn() as session:
        hook.request("GET", "api/donations")
        session.get(f"{replay.url}/api/donations")

    assert seen == [None, None, None]
    assert "OAUTHLIB_INSECURE_TRANSPORT" not in os.environ
