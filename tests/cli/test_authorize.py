"""`airflow gofundo authorize` and `tokens`: a login in a browser that is not Airflow's, and what is known of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
import requests

from airflow_provider_gofundo.hooks.gofundo import GofundoHook
from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.state.variables import VariableCell
from tests.cli.conftest import Run
from tests.fixtures import Connect
from tests.leaks import SECRETS, leaks

CALLBACK = "http://127.0.0.1:8765/callback"
WEB = {"grant_type": "authorization_code", "redirect_uri": CALLBACK, "share_login": True}


@pytest.fixture(scope="module", autouse=True)
def _database() -> None:
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(autouse=True)
def web(sandbox: Sandbox, connect: Connect) -> Iterator[None]:
    connect(sandbox.url, login="3", password="secret-web-3", extra=WEB)
    VariableCell("gofundo_token__gofundo_default").write("")
    yield
    VariableCell("gofundo_token__gofundo_default").write("")


Paste = Callable[[str], str]


class Person:
    """Opens what is printed, and pastes what `answers` make of the address that the browser ends at."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.answers: list[Paste] = []
        self.seen = ""
        self.prompts = 0

    def __call__(self, prompt: str = "") -> str:
        self.prompts += 1
        if not self.answers:
            raise EOFError
        self.seen += "".join(self._capsys.readouterr())
        url = re.findall(r"^http\S+$", self.seen, re.M)[-1]
        answer = requests.get(url, allow_redirects=False, timeout=10)
        return self.answers.pop(0)(answer.headers["Location"])


@pytest.fixture
def person(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Person:
    made = Person(capsys)
    monkeypatch.setattr("builtins.input", made)
    return made


def as_it_is(address: str) -> str:
    return address


def test_a_pasted_address_becomes_a_login_that_works(sandbox: Sandbox, run: Run, person: Person) -> None:
    person.answers = [as_it_is]

    done = run("authorize", "gofundo_default")

    assert done.code == 0, done.err
    assert "Logged in, with a token until 20" in done.out
    assert GofundoHook().request("GET", "api/user/me").status_code == 200


def test_a_wrong_address_may_be_pasted_again(run: Run, person: Person) -> None:
    person.answers = [
        lambda _: f"{CALLBACK}?nothing=here",
        lambda url: re.sub("state=[^&]*", "state=x", url),
        as_it_is,
    ]

    done = run("authorize", "gofundo_default")

    assert done.code == 0
    assert "This address holds neither code nor error" in person.seen
    assert "its state differs" in person.seen + done.err


def test_wrong_addresses_end_it_at_last(run: Run, person: Person) -> None:
    person.answers = [lambda _: "https://example.org/"] * 5

    done = run("authorize", "gofundo_default")

    assert (done.code, person.prompts) == (1, 3)
    assert "This address holds neither code nor error" in done.err
    assert "Try again" not in done.err


def test_nothing_pasted_is_told(run: Run, person: Person) -> None:
    done = run("authorize", "gofundo_default")

    assert (done.code, done.err) == (1, "gofundo authorize: No address was pasted; begin again.\n")


def test_a_denied_consent_is_told_and_not_asked_for_again(sandbox: Sandbox, run: Run, person: Person) -> None:
    sandbox.settings.consent = "deny"
    person.answers = [as_it_is] * 2

    done = run("authorize", "gofundo_default")

    assert (done.code, person.prompts) == (1, 1)
    assert "declined in Gofundo" in done.err


def test_a_wrong_secret_is_told(sandbox: Sandbox, connect: Connect, run: Run, person: Person) -> None:
    connect(sandbox.url, login="3", password="wrong", extra=WEB)
    person.answers = [as_it_is]

    done = run("authorize", "gofundo_default")

    assert done.code == 1
    assert "Compare Client ID, Client Secret and Redirect URI" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"share_login": True}, "Grant type is client_credentials; a login in a browser needs authorization_code"),
        ({**WEB, "share_login": False}, "Share login is off"),
    ],
)
def test_a_connection_that_cannot_keep_such_a_login_is_told_before_anybody_logs_in(
    sandbox: Sandbox, connect: Connect, run: Run, person: Person, extra: dict[str, object], says: str
) -> None:
    connect(sandbox.url, login="3", password="secret-web-3", extra=extra)

    done = run("authorize", "gofundo_default")

    assert (done.code, person.prompts) == (1, 0)
    assert says in done.err


@pytest.mark.parametrize("flags", [[], ["-v"]])
def test_neither_code_nor_verifier_nor_token_is_printed(run: Run, person: Person, flags: list[str]) -> None:
    codes: list[str] = []

    def remember(address: str) -> str:
        codes.append(re.findall("code=([^&]*)", urlsplit(address).query)[0])
        return address

    person.answers = [remember]
    done = run("authorize", "gofundo_default", *flags)
    after = run("tokens")

    printed = [*person.seen.splitlines(), *done.lines, *done.err.splitlines(), *after.lines, *after.err.splitlines()]
    assert done.code == 0
    assert leaks(printed, {*SECRETS, *codes}) == []


def test_tokens_show_nothing_before_and_the_clocks_after_a_login(run: Run, person: Person) -> None:
    (before,) = json.loads(run("tokens", "gofundo_default", "--output", "json").out)
    person.answers = [as_it_is]
    run("authorize", "gofundo_default")
    (after,) = json.loads(run("tokens", "gofundo_default", "--output", "json").out)

    assert (before["state"], before["valid_until"]) == ("none", "")
    assert (after["state"], after["grant_type"]) == ("valid", "authorization_code")
    assert after["valid_until"] > after["refreshable_until"] > after["renewed_at"]
    assert after["renewed_by"].endswith(" on the command line")


@pytest.mark.parametrize("output", ["table", "plain", "yaml"])
def test_tokens_come_in_the_forms_of_airflows_own_commands(run: Run, output: str) -> None:
    done = run("tokens", "--output", output)

    assert done.code == 0
    assert "gofundo_default" in done.out


def test_a_connection_with_a_fault_is_a_row_that_says_so(
    sandbox: Sandbox, connect: Connect, run: Run, person: Person
) -> None:
    connect(sandbox.url, extra={"timeout": "soon"})

    (row,) = json.loads(run("tokens", "gofundo_default", "-o", "json").out)

    assert row["state"] == "unknown"
    assert "Timeout must be a number" in row["problem"]


def test_tokens_of_a_connection_that_is_not_there_fail(run: Run) -> None:
    done = run("tokens", "nobody_made_this")

    assert (done.code, done.out) == (1, "")
    assert "'nobody_made_this'" in done.err
