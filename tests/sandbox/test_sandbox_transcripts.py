"""The sandbox answers what the recorded servers answered: every exchange in tests/transcripts, replayed."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
import requests

from airflow_provider_gofundo.sandbox import Sandbox

TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"
CASES = sorted(path.stem for path in TRANSCRIPTS.glob("*.json"))
BY_HAND = {"c11_consent_denied", "v9_c11_consent_denied"}  # needs a browser session: see test_sandbox_consent.py

RECORDED = "http://127.0.0.1:38917"
ROUTES = {
    "/api/lap": "/api/paginate/donations",
    "/api/simple": "/api/simple-paginate/donations",
    "/api/cursor": "/api/cursor-paginate/donations",
    "/api/lap-resource": "/api/paginate-resource/donations",
    "/api/simple-resource": "/api/simple-paginate-resource/donations",
    "/api/cursor-resource": "/api/cursor-paginate-resource/donations",
    "/api/all": "/api/plain/donations",
    "/api/all-resource": "/api/resource/donations",
    "/api/filtered-keys": "/api/keyed/donations",
}
TRANSPORT_HEADERS = {"date", "content-length", "connection", "set-cookie"}
OWN_FIELDS = {"donor_name", "donor_email"}  # the sandbox invents its own names
CALLBACK = "http://127.0.0.1:8765/callback"
VERIFIER = "v" * 64


def transcript(case: str) -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads((TRANSCRIPTS / f"{case}.json").read_text("utf-8"))
    return recorded


def post(sandbox: Sandbox, **fields: str) -> dict[str, Any]:
    answer = requests.post(f"{sandbox.url}/oauth/token", data=fields, timeout=10)
    assert answer.status_code == 200, answer.text
    token: dict[str, Any] = answer.json()
    return token


def login(sandbox: Sandbox, scope: str = "") -> dict[str, Any]:
    user = {"username": "alice@example.org", "password": "alice-password", "scope": scope}
    return post(sandbox, grant_type="password", client_id="2", client_secret="secret-password-2", **user)


@pytest.fixture(autouse=True)
def _no_client_log(caplog: pytest.LogCaptureFixture) -> None:
    """One case puts its secret into the query string, which urllib3 would log."""
    caplog.set_level(logging.INFO, "urllib3")


def refresh(sandbox: Sandbox, token: str) -> dict[str, Any]:
    machine = {"client_id": "2", "client_secret": "secret-password-2"}
    return post(sandbox, grant_type="refresh_token", refresh_token=token, **machine)


def challenge(verifier: str) -> dict[str, str]:
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    return {"code_challenge": digest, "code_challenge_method": "S256"}


def code(sandbox: Sandbox, client_id: str = "3", **more: str) -> str:
    query = {"response_type": "code", "client_id": client_id, "redirect_uri": CALLBACK, **more}
    url = f"{sandbox.url}/oauth/authorize"
    answer = requests.get(url, params=query, allow_redirects=False, timeout=10)
    return parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]


def public_login(sandbox: Sandbox) -> dict[str, Any]:
    proof = {"code": code(sandbox, "4", **challenge(VERIFIER)), "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    return post(sandbox, grant_type="authorization_code", client_id="4", **proof)


def an_access_token(sandbox: Sandbox, name: str) -> str:
    """A token in the state the case needs."""
    if name.startswith(("d04", "d05")):
        sandbox.settings.access_lifetime = -1
        return sandbox.token(user="client_mw" not in name)
    if name.startswith(("d07", "d08")):
        token = sandbox.token(user=True)
        sandbox.tokens.revoke_access((token,))
        return token
    if name.startswith("a12"):
        granted = login(sandbox)
        refresh(sandbox, granted["refresh_token"])
        return str(granted["access_token"])
    if name.startswith("a13"):
        return str(refresh(sandbox, login(sandbox)["refresh_token"])["access_token"])
    scopes = ("read-donations",) if name.startswith("d10") else ()
    return sandbox.token(user=name.startswith(("d09", "d10", "d25", "d26")), scopes=scopes)


def a_refresh_token(sandbox: Sandbox, name: str) -> str:
    if name.startswith("a14"):
        return str(public_login(sandbox)["refresh_token"])
    scopes = {"a17": "read-donations write-donations", "b21": "read-donations"}
    token = str(login(sandbox, scopes.get(name[:3], ""))["refresh_token"])
    if name.startswith("b16"):
        refresh(sandbox, token)
    if name.startswith("b22"):
        sandbox.advance(3_601)
    return token


def a_code(sandbox: Sandbox, name: str, form: dict[str, str]) -> str:
    if name.startswith("a10"):
        return code(sandbox, "4", **challenge(form["code_verifier"]))
    if name.startswith(("b31", "b32", "b33")):
        return code(sandbox, **challenge(VERIFIER))
    value = code(sandbox)
    if name.startswith("b25"):
        web = {"client_id": "3", "client_secret": "secret-web-3", "redirect_uri": CALLBACK}
        post(sandbox, grant_type="authorization_code", code=value, **web)
    return value


def prepare(sandbox: Sandbox, name: str, query: dict[str, str]) -> None:
    """Bring the sandbox into the state in which the exchange was recorded."""
    if "lab_guest" in query:
        sandbox.settings.consent = "ask"
    if "keep" in query:
        sandbox.settings.keep_query = True
    if name.startswith(("d30", "d31")):
        sandbox.settings.token_per_minute = 3
    if name.startswith("d31"):
        for _ in range(3):
            requests.post(f"{sandbox.url}/oauth/token", timeout=10)
    if name.startswith("d13"):
        for _ in range(3):
            headers = {"Authorization": f"Bearer {sandbox.token()}"}
            requests.get(f"{sandbox.url}/api/throttled", headers=headers, timeout=10)
    if name.startswith(("d22", "d23")):
        sandbox.faults.add("status", "/", status=503, retry_after=60)
    if name.startswith("d24"):
        sandbox.faults.add("status", "/", status=503)


@pytest.mark.parametrize("case", [case for case in CASES if case not in BY_HAND])
def test_the_sandbox_answers_as_recorded(case: str, pool: Callable[..., Sandbox]) -> None:
    recorded = transcript(case)
    request, expected = recorded["request"], recorded["response"]
    name, league = case.removeprefix("v9_"), 9 if case.startswith("v9_") else 8
    path, _, query_string = request["path"].partition("?")
    query = dict(parse_qsl(query_string, keep_blank_values=True))
    size = 0 if "empty" in query else int(query.get("limit_total", 1005))
    sandbox = Sandbox(records=1004).start() if name.startswith("d15") else pool(size, league)

    values: dict[str, str] = {}
    form = dict(parse_qsl(request["body"] or ""))
    sent = json.dumps([request["path"], request["headers"], request["body"]])
    for placeholder in re.findall(r"(?:ACCESS_TOKEN|REFRESH_TOKEN|AUTH_CODE)_\d+", sent):
        if placeholder.startswith("ACCESS"):
            values[placeholder] = an_access_token(sandbox, name)
        elif placeholder.startswith("REFRESH"):
            values[placeholder] = a_refresh_token(sandbox, name)
        else:
            values[placeholder] = a_code(sandbox, name, form)
    prepare(sandbox, name, query)

    def fill(text: str) -> str:
        return re.sub(r"[A-Z]+_(?:TOKEN|CODE)_\d+", lambda match: values[match[0]], text)

    url = sandbox.url + ROUTES.get(path, path) + (f"?{fill(query_string)}" if query_string else "")
    headers = {k: fill(v) for k, v in request["headers"].items() if k not in ("Content-Length", "Connection")}
    body = fill(request["body"]) if request["body"] else None
    answer = requests.request(request["method"], url, data=body, headers=headers, allow_redirects=False, timeout=10)
    if name.startswith("d15"):
        sandbox.stop()

    assert answer.status_code == expected["status"]
    assert_same_headers(answer, expected["headers"], sandbox)
    if isinstance(expected["body"], str):
        assert_same_text(answer.text, expected["body"], sandbox)
    else:
        assert comparable(answer.json()) == comparable(relocated(expected["body"], path, sandbox))


def relocated(value: Any, path: str, sandbox: Sandbox) -> Any:
    """The recorded body with the recorded server's URLs turned into the sandbox's."""
    text = json.dumps(value).replace(f'{RECORDED}{path}"', f'{sandbox.url}{ROUTES.get(path, path)}"')
    text = text.replace(f"{RECORDED}{path}?", f"{sandbox.url}{ROUTES.get(path, path)}?")
    return json.loads(text.replace(RECORDED, sandbox.url))


def comparable(value: Any) -> Any:
    """Without the sandbox's own names, and with secrets and the current time only by their form."""
    if isinstance(value, list):
        return [comparable(item) for item in value]
    if not isinstance(value, dict):
        return value
    result = {}
    for key, item in value.items():
        if key in ("access_token", "refresh_token"):
            result[key] = "a token" if isinstance(item, str) and len(item) > 8 else item
        elif key in ("created_at", "updated_at") and not str(item).startswith("2024"):
            result[key] = re.sub(r"\d", "9", str(item))
        elif key not in OWN_FIELDS or value.keys() <= {"project_id", "amount", "donor_name"}:
            result[key] = comparable(item)
    return result


def assert_same_headers(answer: requests.Response, expected: dict[str, str], sandbox: Sandbox) -> None:
    wanted = {name.lower(): value for name, value in expected.items()}
    given = {k.lower(): v for k, v in answer.headers.items() if k.lower() not in TRANSPORT_HEADERS}
    assert given.keys() == wanted.keys()
    for name in wanted:
        if name == "location":
            assert without_code(given[name]) == without_code(wanted[name].replace(RECORDED, sandbox.url))
        elif name in ("retry-after", "x-ratelimit-reset"):
            assert given[name].isdecimal()
        else:
            assert given[name] == wanted[name]


def without_code(location: str) -> str:
    parts = urlsplit(location)
    query = [(name, "a code" if name == "code" else value) for name, value in parse_qsl(parts.query)]
    return parts._replace(query=urlencode(query)).geturl()


def assert_same_text(given: str, expected: str, sandbox: Sandbox) -> None:
    """Redirect pages are the same to the byte; of error pages title, status and message are compared."""
    if "Redirecting to" in expected or not expected:
        assert given == expected.replace(RECORDED, sandbox.url)
        return
    if "Oops" in expected:  # Symfony's plain page for a wrong method; the sandbox has one page for all errors
        assert "405" in given
        return
    title = re.search("<title>(.*)</title>", expected)
    shown = re.findall(r'tracking-wider">\s*(.*?)\s*</div>', expected)
    assert title is not None
    assert f"<title>{title[1]}</title>" in given
    assert len(shown) == 2
    assert all(f"<p>{text}</p>" in given for text in shown)


def test_every_transcript_is_replayed() -> None:
    assert len(CASES) > 200
    assert set(CASES) >= BY_HAND
