"""The authorize endpoint in its three moods, and the pages a browser sees."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from airflow_provider_gofundo.sandbox import Sandbox

Pool = Callable[..., Sandbox]
TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"
QUERY = "response_type=code&client_id=5&redirect_uri=http%3A%2F%2F127.0.0.1%3A8765%2Fcallback&state=st"


def recorded(case: str) -> dict[str, str]:
    answer: dict[str, str] = json.loads((TRANSCRIPTS / f"{case}.json").read_text("utf-8"))["response"]
    return answer


def location_of(case: str) -> str:
    headers: dict[str, str] = json.loads((TRANSCRIPTS / f"{case}.json").read_text("utf-8"))["response"]["headers"]
    return headers["Location"]


class Browser:
    """As much of a browser as a form needs: cookies, hidden fields, and redirects that stop at the callback."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.url = sandbox.url
        self.session = requests.Session()
        self.session.headers["Accept"] = "text/html"

    def open(self, path: str) -> requests.Response:
        return self.follow(self.session.get(self.url + path, allow_redirects=False, timeout=10))

    def follow(self, answer: requests.Response) -> requests.Response:
        while answer.is_redirect and answer.headers["Location"].startswith(self.url):
            answer = self.session.get(answer.headers["Location"], allow_redirects=False, timeout=10)
        return answer

    def submit(self, page: requests.Response, button: str, **typed: str) -> requests.Response:
        form = next(f for f in re.findall(r"<form.*?</form>", page.text, re.S) if f">{button}</button>" in f)
        action = re.search('action="(.*?)"', form)
        hidden = dict(re.findall(r'type="hidden" name="(.*?)" value="(.*?)"', form))
        assert action is not None
        answer = self.session.post(self.url + action[1], data={**hidden, **typed}, allow_redirects=False, timeout=10)
        return self.follow(answer)

    def log_in(self, page: requests.Response, password: str = "alice-password") -> requests.Response:
        return self.submit(page, "Log in", email="alice@example.org", password=password)


@pytest.fixture
def asking(sandbox: Sandbox) -> Sandbox:
    sandbox.settings.consent = "ask"
    return sandbox


def test_approve_redirects_at_once(sandbox: Sandbox) -> None:
    answer = Browser(sandbox).open(f"/oauth/authorize?{QUERY}")
    query = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert answer.status_code == 302
    assert query.keys() == {"code", "state"}
    assert query["state"] == ["st"]


@pytest.mark.parametrize(("league", "case"), [(8, "c11_consent_denied"), (9, "v9_c11_consent_denied")])
def test_deny_answers_as_recorded(league: int, case: str, pool: Pool) -> None:
    sandbox = pool(league=league)
    sandbox.settings.consent = "deny"
    answer = Browser(sandbox).open(f"/oauth/authorize?{QUERY}")
    assert answer.headers["Location"] == location_of(case)
    assert answer.text == recorded(case)["body"]


def test_a_browser_logs_in_approves_and_gets_a_working_code(asking: Sandbox) -> None:
    browser = Browser(asking)
    login = browser.open(f"/oauth/authorize?{QUERY}")
    assert "<h1>Log in</h1>" in login.text
    assert "stand-in" in login.text
    consent = browser.log_in(login)
    assert "<h1>Authorization Request</h1>" in consent.text
    back = browser.submit(consent, "Approve")
    code = parse_qs(urlsplit(back.headers["Location"]).query)["code"][0]
    form = {"grant_type": "authorization_code", "client_id": "5", "client_secret": "secret-consent-5", "code": code}
    form["redirect_uri"] = "http://127.0.0.1:8765/callback"
    assert requests.post(f"{asking.url}/oauth/token", data=form, timeout=10).status_code == 200


@pytest.mark.parametrize(("league", "case"), [(8, "c11_consent_denied"), (9, "v9_c11_consent_denied")])
def test_the_deny_button_answers_as_recorded(league: int, case: str, pool: Pool) -> None:
    sandbox = pool(league=league)
    sandbox.settings.consent = "ask"
    browser = Browser(sandbox)
    answer = browser.submit(browser.log_in(browser.open(f"/oauth/authorize?{QUERY}")), "Deny")
    assert (answer.status_code, answer.headers["Location"]) == (302, location_of(case))


def test_a_wrong_password_says_so_and_lets_try_again(asking: Sandbox) -> None:
    browser = Browser(asking)
    again = browser.log_in(browser.open(f"/oauth/authorize?{QUERY}"), password="nope")
    assert 'role="alert">These credentials do not match our records.' in again.text
    assert "Authorization Request" in browser.log_in(again).text


def test_a_form_from_elsewhere_is_refused(asking: Sandbox) -> None:
    browser = Browser(asking)
    browser.log_in(browser.open(f"/oauth/authorize?{QUERY}"))
    for form in ({}, {"auth_token": "guessed"}):
        answer = browser.session.post(f"{asking.url}/oauth/authorize", data=form, allow_redirects=False, timeout=10)
        assert answer.status_code == 403
    stranger = requests.post(f"{asking.url}/oauth/authorize", data={"auth_token": "guessed"}, timeout=10)
    assert stranger.status_code == 403


def test_a_consent_is_given_once(asking: Sandbox) -> None:
    browser = Browser(asking)
    page = browser.log_in(browser.open(f"/oauth/authorize?{QUERY}"))
    assert browser.submit(page, "Approve").status_code == 302
    assert browser.submit(page, "Approve").status_code == 403


def test_what_the_client_sends_is_escaped_on_the_page(asking: Sandbox) -> None:
    browser = Browser(asking)
    page = browser.log_in(browser.open(f"/oauth/authorize?{QUERY}&scope=read-donations"))
    assert "<li>read-donations</li>" in page.text
    bad = browser.open(f"/oauth/authorize?{QUERY}&scope=%3Cscript%3E")
    assert "invalid_scope" in bad.headers["Location"]


def test_a_query_that_is_not_well_encoded_does_no_harm(sandbox: Sandbox) -> None:
    answer = Browser(sandbox).open(f"/oauth/authorize?{QUERY}&extra=a'|b&extra=<c>")
    assert "code=" in answer.headers["Location"]


def test_loopback_may_differ_in_port_and_nothing_else(sandbox: Sandbox) -> None:
    def status(uri: str) -> int:
        query = {"response_type": "code", "client_id": "5", "redirect_uri": uri}
        url = f"{sandbox.url}/oauth/authorize"
        return requests.get(url, params=query, allow_redirects=False, timeout=10).status_code

    assert status("http://127.0.0.1:9999/callback") == 302
    assert status("http://127.0.0.1:9999/elsewhere") == 401
    assert status("http://localhost:8765/callback") == 401
    assert status("https://127.0.0.1:8765/callback") == 401


def test_pkce_plain_works_too(sandbox: Sandbox) -> None:
    verifier = "p" * 50
    pkce = f"client_id=4&response_type=code&code_challenge={verifier}&code_challenge_method=plain"
    where = Browser(sandbox).open(f"/oauth/authorize?{pkce}").headers["Location"]
    form = {"grant_type": "authorization_code", "client_id": "4", "code": where.split("code=")[1]}
    url = f"{sandbox.url}/oauth/token"
    assert requests.post(url, data={**form, "code_verifier": "q" * 50}, timeout=10).json()["error"] == "invalid_grant"
    assert requests.post(url, data={**form, "code_verifier": verifier}, timeout=10).status_code == 200
