"""GofundoHook, as a DAG author uses it."""

from __future__ import annotations

import pickle
from datetime import date
from typing import Any

import pytest
from requests_oauthlib import OAuth2Session
from urllib3 import Timeout

from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoAuthError,
    GofundoConfigError,
    GofundoConnectionError,
)
from airflow_provider_gofundo.hooks.gofundo import GofundoHook
from airflow_provider_gofundo.sandbox import Sandbox
from tests.fixtures import Connect, Waits
from tests.leaks import exposed
from tests.replay import Answer, Replay, recorded


@pytest.fixture
def hook(sandbox: Sandbox, connect: Connect) -> GofundoHook:
    connect(sandbox.url)
    return GofundoHook()


def test_making_a_hook_asks_nobody(sandbox: Sandbox, hook: GofundoHook) -> None:
    assert hook.gofundo_conn_id == "gofundo_default"
    assert sandbox.counters.total == 0


def test_it_uses_the_connection_it_is_given(
    sandbox: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect("https://nowhere.invalid")
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", f"gofundo://http://1:secret-machine-1@{sandbox.url[len('http://') :]}")

    with GofundoHook("other").client as client:
        assert client.settings.conn_id == "other"
        assert client.request("GET", "api/donations").status_code == 200


def test_a_request_is_answered_with_the_servers_response(hook: GofundoHook) -> None:
    answer = hook.request("GET", "api/donations", query_params={"per_page": 3})

    assert [record["id"] for record in answer.json()["data"]] == [1, 2, 3]


def test_a_request_may_write(sandbox: Sandbox, hook: GofundoHook) -> None:
    answer = hook.request("POST", "api/donations", json={"project_id": 1, "amount": "12.50"})

    assert answer.status_code == 201
    assert sandbox.records["donations"].value(answer.json()["data"]["id"])["amount"] == "12.50"


def test_all_requests_of_a_hook_log_in_once(sandbox: Sandbox, hook: GofundoHook) -> None:
    hook.request("GET", "api/donations")
    list(hook.records("api/donations"))
    with hook.get_conn() as session:
        session.get("api/donations")

    assert sandbox.counters.grants["client_credentials"] == 1


def test_pages_come_in_order_with_their_records_raw(hook: GofundoHook) -> None:
    pages = list(hook.pages("api/donations", query_params={"per_page": 15}))

    assert [len(page.records) for page in pages] == [15, 15, 10]
    assert [page.total for page in pages] == [40] * 3
    assert bytes(pages[0].records[0]).startswith(b'{"id":1,')


def test_pages_are_asked_for_as_they_are_needed(sandbox: Sandbox, hook: GofundoHook) -> None:
    next(hook.pages("api/donations", query_params={"per_page": 10}))

    assert sandbox.counters.requests["GET /api/donations"] == 1


@pytest.mark.parametrize(
    "shape",
    [
        "paginate", "simple-paginate", "cursor-paginate", "paginate-resource", "simple-paginate-resource",
        "cursor-paginate-resource", "resource", "plain",
    ],
)  # fmt: skip
def test_records_come_decoded_whatever_the_shape_of_the_list(hook: GofundoHook, shape: str) -> None:
    records = list(hook.records(f"api/{shape}/donors", query_params={"per_page": 7}))

    assert [record["id"] for record in records] == list(range(1, 251))
    assert set(records[0]) == {"id", "name", "email", "city", "newsletter", "created_at", "updated_at"}


def test_records_of_a_filtered_collection_come_without_its_keys(hook: GofundoHook) -> None:
    records = list(hook.records("api/keyed/donors"))

    assert [record["id"] for record in records] == list(range(2, 251, 2))


def test_the_session_of_get_conn_is_authorised_and_takes_paths(hook: GofundoHook) -> None:
    with hook.get_conn() as session:
        assert isinstance(session, OAuth2Session)
        assert session.authorized
        assert session.get("api/donations", params={"per_page": 2}).json()["meta"]["per_page"] in (2, "2")
        assert session.get("/api/donations/1").json()["data"]["id"] == 1
        assert session.get("api/nothing").status_code == 404


def test_the_session_of_get_conn_reaches_the_connections_host_only(hook: GofundoHook) -> None:
    with hook.get_conn() as session, pytest.raises(GofundoConfigError, match=r"points to elsewhere\.example"):
        session.get("https://elsewhere.example/api/donations")


def test_get_conn_gives_a_new_token_after_the_old_one_was_refused(sandbox: Sandbox, hook: GofundoHook) -> None:
    hook.request("GET", "api/donations")
    sandbox.revoke_all()
    hook.request("GET", "api/donations")

    with hook.get_conn() as session:
        assert session.get("api/donations").status_code == 200


# --- the Test button ----------------------------------------------------------------------------------------------


def test_a_good_connection_is_told_with_its_grant_and_how_long_its_token_lives(hook: GofundoHook) -> None:
    good, text = hook.test_connection()

    assert good
    assert text.startswith("client_credentials works, with a token until 20")
    assert text.endswith(" UTC.")


def test_a_check_endpoint_is_read_and_counted(sandbox: Sandbox, connect: Connect) -> None:
    connect(sandbox.url, extra={"check_endpoint": "api/donations"})

    good, text = GofundoHook().test_connection()

    assert good
    assert text.endswith("; api/donations answers, with 40 records.")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"password": "wrong"},
            "The server refuses the client_credentials login (invalid_client). Compare Client ID",
        ),
        ({"password": ""}, "Connection 'gofundo_default': Client Secret is empty"),
        ({"extra": {"timeout": "soon"}}, "Connection 'gofundo_default': Timeout must be a number"),
        ({"extra": {"scope": "no-such-scope"}}, "invalid_scope"),
        ({"extra": {"check_endpoint": "api/nothing"}}, "GET api/nothing answered 404"),
        ({"extra": {"check_endpoint": "api/donations/1"}}, "no list of records: it is one item"),
        ({"extra": {"check_endpoint": "api/user/me"}}, "use another Grant type"),
    ],
)
def test_a_bad_connection_is_told_in_the_words_of_its_error(
    sandbox: Sandbox, connect: Connect, fields: dict[str, Any], says: str
) -> None:
    connect(sandbox.url, **fields)

    good, text = GofundoHook().test_connection()

    assert not good
    assert says in text
    assert "secret-machine-1" not in text


def test_a_server_that_is_not_there_is_told(connect: Connect) -> None:
    connect("https://nowhere.invalid")

    assert GofundoHook().test_connection() == (
        False,
        "No such host: https://nowhere.invalid (POST oauth/token). Check Host in the connection.",
    )


def test_an_instance_that_answers_html_is_told(replay: Replay, connect: Connect) -> None:
    replay.tokens = [Answer(200, {"Content-Type": "text/html"}, b"<html>")]
    connect(replay.url)

    good, text = GofundoHook().test_connection()

    assert not good
    assert "text/html" in text
    assert "Host in the connection" in text


# --- errors, and other processes ----------------------------------------------------------------------------------


def test_its_methods_raise_the_errors_of_the_family(sandbox: Sandbox, connect: Connect, waits: Waits) -> None:
    connect(sandbox.url)
    hook = GofundoHook()
    with pytest.raises(GofundoApiError):
        hook.request("GET", "api/nothing")
    with pytest.raises(GofundoApiError):
        list(hook.records("api/nothing"))
    connect(sandbox.url, password="wrong")
    with pytest.raises(GofundoAuthError):
        GofundoHook().get_conn()
    connect("https://nowhere.invalid")
    with pytest.raises(GofundoConnectionError):
        GofundoHook().get_conn()
    assert len(waits) == 4


def test_a_used_hook_survives_pickling_and_takes_no_secret_along(sandbox: Sandbox, hook: GofundoHook) -> None:
    hook.request("GET", "api/donations")
    token = sandbox.requests[-1].headers["authorization"].removeprefix("Bearer ")

    pickled = pickle.dumps(hook)
    copy = pickle.loads(pickled)

    assert b"secret-machine-1" not in pickled
    assert token.encode() not in pickled
    assert copy.request("GET", "api/donations").status_code == 200
    assert hook.request("GET", "api/donations").status_code == 200


def test_a_refused_token_is_renewed_midway_through_a_list(replay: Replay, connect: Connect) -> None:
    connect(replay.url)
    replay.answer(
        recorded("e_lap_first"), recorded("d03_garbage_token_json"), recorded("e_lap_middle"), recorded("e_lap_last")
    )

    pages = list(GofundoHook().pages("api/lap", parallel=1))

    assert len(pages) == 3
    assert len(replay.token_requests) == 2


def test_the_session_of_get_conn_writes_its_token_nowhere_else(hook: GofundoHook) -> None:
    mine = {"X-Trace": "1"}

    answer = hook.get_conn().get("api/donations", headers=mine)

    assert answer.ok
    assert mine == {"X-Trace": "1"}
    assert hook.client.tokens.token().access_token.encode() not in pickle.dumps(answer)


@pytest.mark.parametrize(
    ("method", "options"),
    [("POST", {"json": {"on": date(2026, 1, 1)}}), ("GET ", {}), ("GET", {"headers": {"X-A": "b\nc"}})],
    ids=str,
)
def test_a_request_that_cannot_be_sent_is_an_error_of_ours(
    method: str, options: dict[str, Any], hook: GofundoHook
) -> None:
    with pytest.raises(GofundoConfigError, match="cannot be sent") as caught:
        hook.request(method, "api/donations", **options)

    assert exposed(caught.value, [hook.client.tokens.token().access_token]) == []


@pytest.mark.parametrize("timeout", [5, (5, 5), Timeout(5)], ids=["one", "two", "urllib3's"])
def test_the_session_of_get_conn_takes_a_timeout_as_requests_does(timeout: Any, hook: GofundoHook) -> None:
    assert hook.get_conn().get("api/donations", timeout=timeout).ok
