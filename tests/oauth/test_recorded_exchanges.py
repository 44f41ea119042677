"""Every recorded token exchange, of league 8 and of league 9, ends in the right token or in the right error."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl

import pytest

from airflow_provider_gofundo.exceptions import GofundoAuthError
from airflow_provider_gofundo.oauth.authorization import AuthorizationRequest, code_of
from airflow_provider_gofundo.oauth.grants import AuthorizationCodeGrant, grant_for
from airflow_provider_gofundo.oauth.refusal import finished
from airflow_provider_gofundo.oauth.token import Token
from airflow_provider_gofundo.settings import Settings
from tests.fixtures import ClientOf, settings_of
from tests.replay import TRANSCRIPTS, Replay, recorded, transcript

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)

CASES = sorted(
    path.stem
    for path in TRANSCRIPTS.glob("*.json")
    if path.stem.removeprefix("v9_")[0] in "ab"
    and transcript(path.stem)["request"]["path"].startswith("/oauth/token")
)

# What an engineer has to read in the error, by case; league 8 and 9 alike unless both are named.
CLIENT = ("Client ID and Client Secret", "Instellingen > API-koppeling")
SAYS: dict[str, tuple[str, ...]] = {
    "a20": ("does not know this grant",),  # parameters in the query: the body is empty
    "b01": CLIENT, "b02": CLIENT, "b03": CLIENT, "b04": CLIENT, "b05": ("Client Secret",), "b06": ("Client ID",),
    "b07": ("Grant type",), "b08": ("Grant type",), "b09": ("Grant type",),
    "b10": ("Username or User password is wrong",), "b11": ("Username or User password is wrong",),
    "b12": ("misses a parameter",), "b13": ("misses a parameter",),
    "b14": ("may not use the", "grant"), "b15": ("empty Scope",),
    "b16": ("refresh token is finished",), "b17": ("refresh token is finished",), "b18": ("refresh token is finished",),
    "b19": ("refresh token is finished",), "b20": CLIENT, "b21": ("empty Scope",), "b22": ("refresh token is finished",),
    "b23": ("begin again",), "b24": ("begin again",), "b25": ("begin again",), "b26": ("Redirect URI",),
    "b27": ("Redirect URI",), "b28": ("Redirect URI",), "b29": ("Redirect URI",), "b30": ("begin again",),
    "b31": ("begin again",), "b32": ("begin again",), "b33": ("begin again",), "b34": ("begin again",),
}  # fmt: skip
FINISHED = {"b16", "b17", "b19", "b22"}


def settings_for(case: str, url: str) -> Settings:
    """The connection that a recorded request would have come from."""
    form = dict(parse_qsl(transcript(case)["request"]["body"] or ""))
    grant_type = form.get("grant_type", "client_credentials")
    if grant_type not in ("password", "authorization_code", "refresh_token"):
        grant_type = "client_credentials"
    extra = {"grant_type": grant_type, "scope": form.get("scope")}
    if grant_type == "password":
        extra |= {"username": form.get("username", "x"), "user_password": form.get("password", "x")}
    if grant_type == "authorization_code":
        extra |= {"redirect_uri": form.get("redirect_uri", "http://127.0.0.1:8765/callback")}
    if grant_type == "refresh_token":
        extra |= {"refresh_token": form.get("refresh_token", "x")}
    return settings_of(url, login=form.get("client_id", "1"), password=form.get("client_secret", "x"), extra=extra)


def ask(settings: Settings) -> Token:
    grant = grant_for(settings, clock=lambda: NOW)
    if isinstance(grant, AuthorizationCodeGrant):
        return grant.exchange("the-code", "the-verifier")
    return grant.refresh(settings.refresh_token) if settings.refresh_token else grant.fetch()


@pytest.mark.parametrize("case", [case for case in CASES if transcript(case)["response"]["status"] == 200])
def test_a_granted_token_is_read(case: str, replay: Replay) -> None:
    replay.tokens = [recorded(case)]
    body = transcript(case)["response"]["body"]

    token = ask(settings_for(case, replay.url))

    assert token.access_token == body["access_token"]
    assert token.expires_at == NOW + timedelta(seconds=body["expires_in"])
    assert token.refresh_token == body.get("refresh_token")
    assert token.refresh_expires_at == (NOW + timedelta(hours=1) if "refresh_token" in body else None)


@pytest.mark.parametrize("case", [case for case in CASES if transcript(case)["response"]["status"] != 200])
def test_a_refusal_says_what_to_correct(case: str, replay: Replay) -> None:
    replay.tokens = [recorded(case)]
    response = transcript(case)["response"]
    number = case.removeprefix("v9_")[:3]

    with pytest.raises(GofundoAuthError) as caught:
        ask(settings_for(case, replay.url))

    error = caught.value
    assert (error.error, error.status, error.hint) == (
        response["body"]["error"], response["status"], response["body"].get("hint"),
    )  # fmt: skip
    assert error.retry_in is None
    for words in SAYS[number]:
        assert words in str(error)
    if number in {"b16", "b17", "b18", "b19", "b20", "b21", "b22"}:
        assert finished(error) == (number in FINISHED)


def sent_fields(case: str) -> dict[str, str]:
    fields = dict(parse_qsl(transcript(case)["request"]["body"]))
    return fields | {name: "ours" for name in ("code", "code_verifier") if name in fields}


@pytest.mark.parametrize(
    "case", ["a01_client_credentials_body", "a03_client_credentials_scope", "a05_password", "a11_refresh_token"]
)
def test_we_send_what_was_recorded(case: str, replay: Replay) -> None:
    replay.tokens = [recorded(case)]

    ask(settings_for(case, replay.url))

    assert replay.asked[-1].form == sent_fields(case)


@pytest.mark.parametrize("case", ["a07_authorize_redirect", "a09_authorize_pkce_public", "v9_a07_authorize_redirect"])
def test_the_recorded_callbacks_give_their_code(case: str) -> None:
    location = transcript(case)["response"]["headers"]["Location"]
    request = AuthorizationRequest(url="", state="st", code_verifier="")

    assert code_of(location, request).startswith("AUTH_CODE_")


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("c05_authorize_invalid_scope", "does not know the scope"),  # league 8 drops the state here
        ("v9_c05_authorize_invalid_scope", "does not know the scope"),
        ("c11_consent_denied", "declined"),
        ("v9_c11_consent_denied", "declined"),
        ("c08_authorize_no_state", "belongs to another login"),
    ],
)
def test_the_recorded_callbacks_without_a_code_say_why(case: str, says: str) -> None:
    location = transcript(case)["response"]["headers"]["Location"]

    with pytest.raises(GofundoAuthError, match=says):
        code_of(location, AuthorizationRequest(url="", state="st", code_verifier=""))


def test_a_token_revoked_by_a_refresh_is_replaced_once_and_the_request_replayed(
    replay: Replay, client_of: ClientOf
) -> None:
    replay.answers = [recorded("a12_old_access_token_after_refresh"), recorded("a13_new_access_token_after_refresh")]

    answer: Any = client_of(replay.url).request("GET", "api/user/me").json()

    assert answer["name"] == "Alice"
    assert [asked.path for asked in replay.asked].count("/oauth/token") == 2
