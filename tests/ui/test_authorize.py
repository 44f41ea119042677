"""Logging in through the Authorize page, by who may, who may not, and who would like to."""

from __future__ import annotations

import html
import json
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from sqlalchemy import delete

from airflow_provider_gofundo.hooks.gofundo import GofundoHook
from airflow_provider_gofundo.oauth import manager
from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.state.login import shared_login
from airflow_provider_gofundo.state.logins import login_state, settings_of
from airflow_provider_gofundo.ui import app
from tests.ui.conftest import AIRFLOW, CALLBACK, Browser, Clock, connect

People = Callable[..., Browser]


def page_of(conn_id: str) -> str:
    return f"/gofundo/connections/{conn_id}"


def begin(browser: Browser, conn_id: str) -> str:
    """Press Authorize; returns where that leads."""
    answer = browser.press(page_of(conn_id), "Authorize")
    assert answer.status_code == 303, answer.text
    return str(answer.headers["Location"])


def approve(url: str) -> str:
    """Approve in Gofundo, which a sandbox does by itself; returns the path that the browser comes back to."""
    answer = requests.get(url, allow_redirects=False, timeout=10)
    back = answer.headers["Location"]
    assert back.startswith(f"{CALLBACK}?"), "the browser has to come back to the page"
    return back.removeprefix(AIRFLOW)


def exchanges(sandbox: Sandbox) -> int:
    return len([seen for seen in sandbox.requests if seen.form.get("grant_type") == "authorization_code"])


def test_after_authorize_and_consent_every_task_has_the_token(people: People, web: str, sandbox: Sandbox) -> None:
    olga = people("olga")

    answer = olga.get(approve(begin(olga, web)))

    assert (answer.status_code, answer.headers["Location"]) == (303, f"{page_of(web)}?authorized=1")
    page = olga.get(answer.headers["Location"])
    assert "Logged in." in page.text
    assert "user olga on the Authorize page" in page.text
    assert GofundoHook(web).request("GET", "api/donations").ok
    assert exchanges(sandbox) == 1


def test_consent_is_asked_for_with_pkce_and_without_the_secret(people: People, web: str) -> None:
    query = parse_qs(urlsplit(begin(people("olga"), web)).query)

    assert query["code_challenge_method"] == ["S256"]
    assert query["redirect_uri"] == [CALLBACK]
    assert query.keys() & {"code_verifier", "client_secret"} == set()


def test_while_gofundo_cannot_be_reached_nobody_is_sent_there(
    people: People, web: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    olga = people("olga")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        connect(monkeypatch, web, f"http://127.0.0.1:{taken.getsockname()[1]}")
        refused = olga.press(page_of(web), "Authorize")
    connect(monkeypatch, web, sandbox.url)

    assert refused.status_code == 502
    assert "Cannot connect" in refused.text
    assert f'href="{page_of(web)}"' in refused.text
    assert begin(olga, web).startswith(f"{sandbox.url}/oauth/authorize?")


def test_denied_consent_is_told_and_leaves_the_old_login_alone(people: People, web: str, sandbox: Sandbox) -> None:
    olga = people("olga")
    olga.get(approve(begin(olga, web)))
    before = login_state(web)
    sandbox.settings.consent = "deny"

    answer = olga.get(approve(begin(olga, web)))

    assert answer.status_code == 403
    assert "declined in Gofundo" in answer.text
    assert login_state(web) == before


def test_a_refusal_without_state_is_told_as_well(people: People) -> None:
    answer = people("olga").get("/gofundo/callback?error=invalid_scope&error_description=words+of+theirs")

    assert answer.status_code == 400
    assert "Compare Client ID, Redirect URI and Scope" in answer.text
    assert "words of theirs" not in answer.text


@pytest.mark.parametrize(
    "forgery",
    [
        {"form_token": ""},
        {"form_token": "made-up"},
        {"Origin": "https://evil.example.org"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
@pytest.mark.parametrize("button", ["Check", "Authorize"])
def test_a_forged_press_does_nothing(
    people: People, web: str, sandbox: Sandbox, forgery: dict[str, str], button: str
) -> None:
    olga = people("olga")
    action, fields = olga.form(page_of(web), button)
    fields = {**fields, **{name: value for name, value in forgery.items() if name == "form_token"}}
    headers = {name: value for name, value in forgery.items() if name != "form_token"}

    answer = olga.post(action, fields, **headers)

    assert answer.status_code == 403
    assert "Nothing was done" in answer.text
    assert not sandbox.requests


@pytest.mark.parametrize("button", ["Check", "Authorize"])
def test_the_form_of_another_user_or_connection_or_day_is_not_valid(
    people: People, web: str, sandbox: Sandbox, clock: Clock, monkeypatch: pytest.MonkeyPatch, button: str
) -> None:
    olga, bram = people("olga"), people("bram")
    connect(monkeypatch, "another", sandbox.url)
    action, fields = olga.form(page_of(web), button)

    assert bram.post(action, fields).status_code == 403
    assert olga.post(action.replace(web, "another"), fields).status_code == 403
    clock.advance(hours=9)
    assert olga.post(action, fields).status_code == 403
    assert not sandbox.requests


def test_a_state_works_once(people: People, web: str, sandbox: Sandbox) -> None:
    olga = people("olga")
    back = approve(begin(olga, web))
    olga.get(back)

    answer = olga.get(back)

    assert answer.status_code == 400
    assert "finished already" in answer.text
    assert exchanges(sandbox) == 1


def test_of_two_callbacks_at_once_one_asks_for_a_token(people: People, web: str, sandbox: Sandbox) -> None:
    first, second = people("olga"), people("olga")
    back = approve(begin(first, web))

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda browser: browser.get(back), (first, second)))

    assert sorted(answer.status_code for answer in answers) == [303, 400]
    assert exchanges(sandbox) == 1


def test_the_state_of_another_user_is_refused_and_stays_theirs(people: People, web: str, sandbox: Sandbox) -> None:
    olga, bram = people("olga"), people("bram")
    back = approve(begin(olga, web))

    answer = bram.get(back)

    assert answer.status_code == 400
    assert "another user of Airflow began it" in answer.text
    assert exchanges(sandbox) == 0
    assert olga.get(back).status_code == 303


@pytest.mark.parametrize(
    "query", ["", "?code=x", "?code=x&state=", "?code=x&state=unknown", "?state=unknown&state=y"]
)
def test_a_state_that_nobody_began_with_is_refused(people: People, sandbox: Sandbox, query: str) -> None:
    assert people("olga").get(f"/gofundo/callback{query}").status_code == 400
    assert not sandbox.requests


def test_a_state_is_good_for_ten_minutes(people: People, web: str, sandbox: Sandbox, clock: Clock) -> None:
    olga = people("olga")
    back = approve(begin(olga, web))
    clock.advance(minutes=10, seconds=1)

    answer = olga.get(back)

    assert answer.status_code == 400
    assert "More than 10 minutes" in answer.text
    assert exchanges(sandbox) == 0


def test_logins_that_nobody_came_back_from_are_removed(people: People, web: str, clock: Clock) -> None:
    from airflow.models import Variable
    from airflow.utils.session import create_session

    olga = people("olga")
    begin(olga, web)
    begin(olga, web)
    clock.advance(minutes=11)
    begin(olga, web)

    with create_session() as session:
        rows = [row for row in session.query(Variable) if row.key.startswith("gofundo_token_pending__")]
        assert len(rows) == 1
        assert rows[0].is_encrypted
        assert "verifier_token" not in rows[0]._val


def test_who_has_lost_the_right_meanwhile_gets_no_token(people: People, web: str, sandbox: Sandbox) -> None:
    back = approve(begin(people("olga"), web))

    assert people("olga", role="viewer").get(back).status_code == 403
    assert exchanges(sandbox) == 0


def test_a_connection_that_was_changed_meanwhile_gets_no_token(
    people: People, web: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    olga = people("olga")
    back = approve(begin(olga, web))
    connect(monkeypatch, web, sandbox.url, scope="read-donations")

    answer = olga.get(back)

    assert answer.status_code == 400
    assert "changed meanwhile" in answer.text
    assert exchanges(sandbox) == 0


def test_a_wrong_secret_is_told(people: People, web: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, web, sandbox.url, secret="secret-that-is-wrong")
    olga = people("olga")

    answer = olga.get(approve(begin(olga, web)))

    assert answer.status_code == 400
    assert "Compare Client ID, Client Secret and Redirect URI" in answer.text
    assert "secret-that-is-wrong" not in answer.text
    assert "No token was stored" in answer.text


def test_a_server_that_is_down_is_told(people: People, web: str, sandbox: Sandbox) -> None:
    olga = people("olga")
    back = approve(begin(olga, web))
    sandbox.stop()

    answer = olga.get(back)

    assert answer.status_code == 502
    assert "No token was stored" in answer.text
    assert "press Authorize again" in answer.text


@pytest.mark.parametrize(
    "uri",
    ["https://evil.example.org/callback", f"{CALLBACK}/", CALLBACK.replace("https", "http"), f"{CALLBACK}?next=x"],
)
def test_with_another_redirect_uri_it_says_what_to_change_and_does_not_begin(
    people: People, web: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    olga = people("olga")
    action, fields = olga.form(page_of(web), "Authorize")
    connect(monkeypatch, web, sandbox.url, redirect_uri=uri)

    page, answer = olga.get(page_of(web)), olga.post(action, fields)

    assert "Authorize</button>" not in page.text
    assert answer.status_code == 409
    for text in (page.text, answer.text):
        assert f"Redirect URI in the connection is {uri}. To use this page, make it {CALLBACK}" in html.unescape(text)


def test_with_a_login_for_each_process_it_does_not_begin(
    people: People, web: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    olga = people("olga")
    action, fields = olga.form(page_of(web), "Authorize")
    connect(monkeypatch, web, sandbox.url, share_login=False)

    assert "Share login is off" in olga.get(page_of(web)).text
    assert olga.post(action, fields).status_code == 409


def test_a_forged_host_changes_nothing(people: People, web: str) -> None:
    olga = people("olga")

    page = olga.get(page_of(web), Host="evil.example.org")
    forged: dict[str, Any] = {"Host": "evil.example.org", "X-Forwarded-Host": "evil.example.org"}
    answer = olga.post(*olga.form(page_of(web), "Authorize"), **forged)

    assert "evil.example.org" not in page.text
    assert parse_qs(urlsplit(answer.headers["Location"]).query)["redirect_uri"] == [CALLBACK]


def test_without_a_base_url_a_forged_host_begins_nothing(
    people: People, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "")
    olga = people("olga")
    action, fields = olga.form(page_of(web), "Authorize")

    answer = olga.post(action, fields, Host="evil.example.org", Origin="https://evil.example.org")

    assert answer.status_code == 409
    assert begin(olga, web)


def test_no_query_sends_the_browser_elsewhere(people: People, web: str) -> None:
    olga = people("olga")
    elsewhere = urlencode(dict.fromkeys(("next", "redirect_uri", "return", "url"), "https://evil.example.org"))

    page = olga.get(f"{page_of(web)}?{elsewhere}")
    action, fields = olga.form(page_of(web), "Authorize")
    begun = olga.post(f"{action}?{elsewhere}", {**fields, "redirect_uri": "https://evil.example.org"})
    done = olga.get(f"{approve(begun.headers['Location'])}&{elsewhere}")

    assert done.headers["Location"] == f"{page_of(web)}?authorized=1"
    assert "evil" not in page.text + begun.headers["Location"]


def test_without_a_fernet_key_it_does_not_begin(
    people: People, web: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models.crypto import get_fernet

    olga = people("olga")
    action, fields = olga.form(page_of(web), "Authorize")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "")
    get_fernet.cache_clear()

    assert "Set [core] fernet_key" in olga.get(page_of(web)).text
    assert olga.post(action, fields).status_code == 409


def test_the_note_of_a_login_is_not_for_who_only_writes_its_address(people: People, web: str) -> None:
    assert "Logged in." not in people("olga").get(f"{page_of(web)}?authorized=1").text


def test_the_form_may_end_at_gofundo_at_a_login_over_tls_and_here(people: People, web: str, sandbox: Sandbox) -> None:
    policy: Any = people("olga").get(page_of(web)).headers["Content-Security-Policy"]

    assert re.search(r"form-action ([^;]*);", policy)[1].split() == ["'self'", "https:", sandbox.url, AIRFLOW]  # type: ignore[index]
    assert policy.startswith("default-src 'none'; ")


def test_the_record_names_who_logged_in_and_no_more(people: People, web: str) -> None:
    from airflow.models import Variable

    olga = people("olga")
    olga.get(approve(begin(olga, web)))

    assert json.loads(Variable.get(f"gofundo_token__{web}"))["renewed_by"] == "user olga on the Authorize page"


@pytest.mark.parametrize("uri", ["https://[x/gofundo/callback", "https://\u2192.nl/cb", "https://a b; script-src *"])
def test_a_redirect_uri_that_is_none_is_told_and_stays_out_of_the_headers(
    uri: str, people: People, web: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, web, sandbox.url, redirect_uri=uri)

    page: Any = people("olga").get(page_of(web))

    assert page.status_code == 200
    assert "Redirect URI" in page.text
    assert page.headers["Content-Security-Policy"].count("script-src 'nonce-") == 1
    assert "script-src *" not in page.headers["Content-Security-Policy"]


def test_a_login_that_could_not_be_kept_any_more_is_not_finished(
    people: People, web: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    olga = people("olga")
    back = approve(begin(olga, web))
    connect(monkeypatch, web, sandbox.url, share_login=False)

    answer = olga.get(back)

    assert answer.status_code == 400
    assert "changed meanwhile" in answer.text
    assert exchanges(sandbox) == 0


def test_the_verifier_is_masked_also_where_airflow_masks_json_by_the_names_in_it(people: People, web: str) -> None:
    from airflow.models import Variable
    from airflow.sdk._shared.secrets_masker import redact
    from airflow.utils.session import create_session
    from sqlalchemy import select

    begin(people("olga"), web)

    with create_session() as session:
        rows = session.scalars(select(Variable).where(Variable.key.startswith("gofundo_token_pending"))).all()
        value = json.loads(str(rows[0].val))
    assert value["verifier_token"] not in json.dumps(redact(value))


def test_a_silent_server_does_not_take_all_threads_of_airflow(
    people: People, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    olga = people("olga")
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent, ThreadPoolExecutor(8) as impatient:
        host = f"http://127.0.0.1:{silent.getsockname()[1]}"
        connect(monkeypatch, web, host, grant_type="client_credentials", timeout=3)
        form = olga.form(page_of(web), "Check")
        answers = list(impatient.map(lambda _: olga.post(*form), range(8)))

    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [503] * 4


@pytest.mark.parametrize("conn_id", ["team/donations", "a/check", "a#b", "a:b!(x)", "a.b"])
def test_a_connection_of_any_name_has_its_page(conn_id: str, people: People, sandbox: Sandbox) -> None:
    from airflow.models import Connection
    from airflow.utils.session import create_session

    olga = people("olga")
    host, port = sandbox.url.rsplit(":", 1)
    with create_session() as session:
        session.add(
            Connection(conn_id=conn_id, conn_type="gofundo", host=host, port=int(port), login="1", password="none")
        )
    try:
        links = re.findall(r'<th scope="row"><a href="(.*?)"', olga.get("/gofundo/connections").text)
        page = olga.get(html.unescape(links[0]))
        checked = olga.press(html.unescape(links[0]), "Check")
    finally:
        with create_session() as session:
            session.execute(delete(Connection).where(Connection.conn_id == conn_id))

    assert (page.status_code, checked.status_code) == (200, 200)
    assert f"<h1>{html.escape(conn_id)}</h1>" in page.text
    assert "invalid_client" in checked.text


def test_who_comes_back_while_all_turns_are_taken_can_come_again(
    people: People, web: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    olga = people("olga")
    back = approve(begin(olga, web))
    monkeypatch.setattr(app, "_turns", BoundedSemaphore(1))
    with app._turns:
        assert olga.get(back).status_code == 503
    assert exchanges(sandbox) == 0

    assert olga.get(back).status_code == 303


@pytest.mark.parametrize("seconds", [-30, 30])
def test_two_api_servers_need_not_have_the_same_time(seconds: int, people: People, web: str, clock: Clock) -> None:
    olga = people("olga")
    back = approve(begin(olga, web))
    clock.advance(seconds=seconds)

    assert olga.get(back).status_code == 303


def test_an_address_with_a_slash_too_many_is_no_page_and_leads_nowhere(people: People) -> None:
    answer = people("olga").get("/gofundo/callback/?code=a-code&state=s", Host="evil.example.org")

    assert answer.status_code == 404
    assert "Location" not in answer.headers


def test_a_login_is_stored_though_another_worker_died_in_its_turn(
    people: People, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "PATIENCE", 0.5)
    settings = settings_of(web)
    _, turn = shared_login(settings)
    assert turn.acquire(), "the one that dies"
    olga = people("olga")

    assert olga.get(approve(begin(olga, web))).status_code == 303
    assert login_state(web).renewed_at is not None
