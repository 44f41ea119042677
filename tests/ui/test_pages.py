"""What the pages show, and to whom."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_gofundo.hooks.gofundo import GofundoHook
from airflow_provider_gofundo.sandbox import Sandbox
from tests.ui.conftest import Browser, Clock, connect

People = Callable[..., Browser]
ROUTES = [
    "connections",
    "connections/{}",
    "connections/{}/check",
    "connections/{}/authorize",
    "callback?state=x&code=x",
]


def ask(browser: Browser, route: str, conn_id: str) -> int:
    path = f"/gofundo/{route.format(conn_id)}"
    answer = browser.post(path, {}) if route.endswith(("check", "authorize")) else browser.get(path)
    return int(answer.status_code)


@pytest.mark.parametrize("route", ROUTES)
def test_nobody_gets_in_without_logging_in_to_airflow(people: People, web: str, route: str) -> None:
    stranger = people()

    assert ask(stranger, route, web) == 401
    back = f"/gofundo/connections/{web}" if route == "connections/{}" else "/gofundo/connections"
    assert next_of(stranger.seen[0].text) == back


@pytest.mark.parametrize(
    "conn_id",
    [
        "https://evil.example.org/",
        "//evil.example.org",
        "%2f%2fevil.example.org",
        "\\\\evil.example.org",
        "%5cevil.example.org",
        "..%2f..%2f..%2f%2fevil.example.org",
        "a?next=https://evil.example.org",
        'a"><a href="https://evil.example.org',
    ],
)
def test_the_way_back_from_a_login_is_a_page_of_ours(people: People, conn_id: str) -> None:
    answer = people().get(f"/gofundo/connections/{conn_id}", Host="evil.example.org")

    back = next_of(answer.text)
    assert re.fullmatch(r"/gofundo/connections(/[\w.%~-]+)?", back), back
    assert 'href="http' not in answer.text


def next_of(page: str) -> str:
    """Where a login leads to from there."""
    link = re.search('href="(/auth/login.*?)"', page)
    assert link is not None
    return parse_qs(urlsplit(html.unescape(link[1])).query)["next"][0]


@pytest.mark.parametrize("route", [*ROUTES, "callback?error=access_denied"])
def test_who_may_not_edit_connections_gets_nowhere(people: People, web: str, route: str) -> None:
    vera = people("vera", role="viewer")

    assert ask(vera, route, web) == 403
    assert web not in vera.seen[0].text


def test_a_tampered_login_is_told_to_log_in(people: People) -> None:
    stranger = people()
    stranger.http.cookies.set("_token", "not-a-login-of-airflow")

    assert "Log in to Airflow" in stranger.get("/gofundo/connections").text
    assert stranger.seen[0].status_code in (401, 403)


@pytest.mark.parametrize("path", ["connections/nobody", "connections/postgres", "nowhere", "connections/a/authorize"])
def test_what_is_not_ours_is_not_there(people: People, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES", "postgres://user:secret@db.example.org/x")

    answer = people("olga").get(f"/gofundo/{path}")

    assert answer.status_code in (404, 405)
    assert "db.example.org" not in answer.text


def test_the_list_shows_every_gofundo_connection_with_what_is_known_of_its_login(
    people: People, web: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, "machine", sandbox.url, grant_type="client_credentials")
    connect(monkeypatch, "broken", "http://gofundo.example.org")
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES", "postgres://user:secret@db.example.org/x")
    GofundoHook("machine").request("GET", "api/donations")

    page = people("olga").get("/gofundo/connections").text

    rows = {row[0]: row for row in (cells_of(row) for row in page.split("<tr>")[2:])}
    assert rows.keys() >= {"machine", "broken", web}
    assert "postgres" not in rows
    assert rows["machine"][1:3] == ["client_credentials", "The token is good."]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", rows["machine"][3])
    assert rows["machine"][6] == "the command line"
    assert "begins with http://" in rows["broken"][2]
    assert rows[web][1:4] == ["authorization_code", "No token yet: press Authorize.", "-"]


def test_the_pages_say_which_run_has_renewed_a_token(
    people: People, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.execution_time.context import set_current_context

    connect(monkeypatch, "machine", sandbox.url, grant_type="client_credentials")
    task: Any = {"ti": SimpleNamespace(dag_id="nightly", run_id="scheduled__2026", task_id="pull")}
    with set_current_context(task):
        GofundoHook("machine").request("GET", "api/donations")
    olga = people("olga")

    assert "<td>dag nightly, run scheduled__2026, task pull</td>" in olga.get("/gofundo/connections").text
    page = olga.get("/gofundo/connections/machine").text
    assert "<dt>By</dt><dd>dag nightly, run scheduled__2026, task pull</dd>" in page


def cells_of(row: str) -> list[str]:
    return [re.sub(r"<.*?>", "", cell).strip() for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.S)]


def test_a_token_that_has_ended_is_told_with_what_to_do(
    people: People, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    connect(monkeypatch, "ended", sandbox.url, grant_type="client_credentials")
    GofundoHook("ended").request("GET", "api/donations")
    clock.advance(days=15)

    assert (
        "The token has ended: the next request gets another." in people("olga").get("/gofundo/connections/ended").text
    )


def test_check_walks_through_all_steps_and_shows_what_each_found(
    people: People, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, "good", sandbox.url, grant_type="client_credentials", check_endpoint="api/donations")

    page = people("olga").press("/gofundo/connections/good", "Check")

    assert page.status_code == 200
    assert re.findall(r"<strong>(\w+), (\w+):</strong>", page.text) == [
        (step, "good") for step in ("address", "connection", "login", "list")
    ]
    assert "Check: all is well" in page.text


def test_check_stops_at_the_step_that_fails_and_says_why(
    people: People, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, "bad", sandbox.url, secret="secret-that-is-wrong", grant_type="client_credentials")

    page = people("olga").press("/gofundo/connections/bad", "Check")

    assert "login, failed:" in page.text
    assert "Compare Client ID and Client Secret" in page.text
    assert "Check: it fails" in page.text


def test_a_name_with_markup_in_it_is_text(people: People, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "escaped", sandbox.url, redirect_uri="https://x.example.org/<script>alert(1)</script>")

    assert "&lt;script&gt;" in people("olga").get("/gofundo/connections/escaped").text


class Outline(HTMLParser):
    """What assistive software finds in a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def test_the_pages_can_be_used_with_keyboard_and_screen_reader(people: People, web: str) -> None:
    olga = people("olga")
    for path in ("/gofundo/connections", f"/gofundo/connections/{web}", "/gofundo/callback"):
        outline = Outline(olga.get(path).text)
        assert outline.all("html") == [{"lang": "en"}]
        assert len(outline.all("h1")) == len(outline.all("main")) == len(outline.all("title")) == 1
        assert outline.all("a")[0] == {"class": "skip", "href": "#main"}
        assert all(cell.get("scope") for cell in outline.all("th"))
        assert len(outline.all("caption")) == len(outline.all("table"))
        ids = {attrs["id"] for _, attrs in outline.tags if "id" in attrs}
        assert all(button["aria-describedby"] in ids for button in outline.all("button"))
