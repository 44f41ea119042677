"""A connection becomes settings, or one sentence that says what to correct."""

from __future__ import annotations

import json
import logging
import pickle
from typing import Any

import pytest

from airflow_provider_gofundo.exceptions import GofundoConfigError
from airflow_provider_gofundo.form import EXTRA_FIELDS
from airflow_provider_gofundo.settings import Settings
from tests.fixtures import connection, settings_of
from tests.leaks import PSEUDONYM_KEY


def test_a_filled_in_form_gives_settings_with_the_documented_defaults() -> None:
    settings = settings_of(None, extra=dict.fromkeys(EXTRA_FIELDS))

    assert settings == Settings(
        conn_id="gofundo_default",
        base_url="https://gofundo.nl",
        client_id="1",
        client_secret="secret-machine-1",
        grant_type="client_credentials",
        scope="",
        timeout=30,
        max_attempts=5,
        refresh_lifetime=3600,
        requests_per_minute=None,
        pseudonym_key_secret=None,
        share_login=True,
    )


@pytest.mark.parametrize(
    ("host", "port", "base_url"),
    [
        ("", None, "https://gofundo.nl"),
        ("gofundo.nl", None, "https://gofundo.nl"),
        ("https://gofundo.nl/", 443, "https://gofundo.nl"),
        ("https://gofundo.nl", 8443, "https://gofundo.nl:8443"),
        ("https://gofundo.nl:8443", 8443, "https://gofundo.nl:8443"),
        ("https://example.org/fonds/", None, "https://example.org/fonds"),
        ("http://127.0.0.1:8080", None, "http://127.0.0.1:8080"),
        ("http://localhost", 8080, "http://localhost:8080"),
        ("http://[::1]:8080", None, "http://[::1]:8080"),
        ("https://GOFUNDO.nl", None, "https://gofundo.nl"),
    ],
)
def test_host_and_port_make_the_base_url(host: str, port: int | None, base_url: str) -> None:
    assert settings_of(host, port=port).base_url == base_url


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"login": None}, "Client ID is empty"),
        ({"password": ""}, "Client Secret is empty"),
        ({"password": "pasted\n"}, "Client Secret begins or ends with white space"),
        ({"login": " 1"}, "Client ID begins or ends with white space"),
        ({"host": "http://gofundo.nl"}, "Host begins with http://"),
        ({"host": "http://127.0.0.1.example.org"}, "Host begins with http://"),
        ({"host": "ftp://gofundo.nl"}, "Host is not an http(s) URL"),
        ({"host": "https://gofundo.nl;frame-ancestors"}, "Host is not an http(s) URL"),
        ({"host": "https://gofundo.nl'"}, "Host is not an http(s) URL"),
        ({"host": "https://*.gofundo.nl"}, "Host is not an http(s) URL"),
        ({"extra": {"pseudonym_key_secret": "too short"}}, "Pseudonym key has fewer than 16 characters"),
        ({"host": "https://gofundo.nl:port"}, "Host is not a URL"),
        ({"host": "https://go fundo.nl"}, "Host is not an http(s) URL"),
        ({"host": "https://me:pw@gofundo.nl"}, "Host holds more than"),
        ({"host": "https://gofundo.nl/?a=b"}, "Host holds more than"),
        ({"host": "https://gofundo.nl?"}, "Host holds more than"),
        ({"host": "https://gofundo.nl/#"}, "Host holds more than"),
        ({"host": "https://gofundo.nl/#/"}, "Host holds more than"),
        ({"host": "gofundo.nl/#/login"}, "Host holds more than"),
        ({"host": "https://gofundo.nl:1", "port": 2}, "Host says port 1 but Port says 2"),
        ({"extra": "{not json"}, "Extra is not a JSON object"),
        ({"extra": "[1]"}, "Extra is not a JSON object"),
        ({"extra": {"grant_type": "magic"}}, "Grant type must be one of"),
        ({"extra": {"grant_type": "password"}}, "Username is empty; the password grant needs it"),
        ({"extra": {"grant_type": "password", "username": "a@example.org"}}, "User password is empty"),
        ({"extra": {"grant_type": "authorization_code"}}, "Redirect URI is empty"),
        ({"extra": {"grant_type": "refresh_token"}}, "Refresh token is empty"),
        ({"extra": {"timeout": "soon"}}, "Timeout must be a number"),
        ({"extra": {"timeout": 0}}, "Timeout must be a number"),
        ({"extra": {"timeout": "inf"}}, "Timeout must be a number"),
        ({"extra": {"timeout": True}}, "Timeout must be a number"),
        ({"extra": {"max_attempts": 2.5}}, "Attempts must be a whole number"),
        ({"extra": {"requests_per_minute": -1}}, "Requests per minute must be a number"),
        ({"extra": {"ca_bundle": "/no/such.pem"}}, "CA bundle names a file that does not exist"),
        ({"extra": {"share_login": "maybe"}}, "Share login must be true or false"),
        ({"extra": {"scope": ["a"]}}, "Scope must be a text"),
        ({"extra": {"pseudonym_key_secret": ["a"]}}, "Pseudonym key must be a text"),
        ({"extra": {"pseudonym_key_secret": "pasted\n"}}, "Pseudonym key begins or ends with white space"),
    ],
)
def test_a_wrong_field_is_named_as_the_form_labels_it(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(GofundoConfigError) as caught:
        settings_of(**fields)

    assert str(caught.value).startswith(f"Connection 'gofundo_default': {says}")
    assert "secret-machine-1" not in str(caught.value)
    assert caught.value.__context__ is None


def test_unknown_fields_are_named_in_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        settings_of(None, schema="https", extra={"timeout": 5, "tiemout": 6, "color": "blue"})

    (record,) = caplog.records
    assert record.getMessage() == "Connection 'gofundo_default' has fields that are not used: color, tiemout, Schema"


@pytest.mark.parametrize(
    "text",
    [
        "gofundo://1:secret-machine-1@gofundo.nl:8443/?grant_type=client_credentials&timeout=12.5&share_login=false",
        json.dumps(
            {
                "conn_type": "gofundo",
                "host": "https://gofundo.nl",
                "port": 8443,
                "login": "1",
                "password": "secret-machine-1",
                "extra": {"timeout": 12.5, "share_login": False, "scope": None},
            }
        ),
    ],
    ids=["uri", "json"],
)
def test_an_environment_variable_says_the_same_as_the_form(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    from airflow.providers.common.compat.sdk import BaseHook

    monkeypatch.setenv("AIRFLOW_CONN_GOFUNDO_DEFAULT", text)

    settings = Settings.from_connection(BaseHook.get_connection("gofundo_default"))

    assert settings == settings_of("https://gofundo.nl", port=8443, extra={"timeout": 12.5, "share_login": False})


def test_a_sandbox_is_reachable_by_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.common.compat.sdk import BaseHook

    monkeypatch.setenv("AIRFLOW_CONN_GOFUNDO_DEFAULT", "gofundo://http://1:secret-machine-1@127.0.0.1:8080")

    settings = Settings.from_connection(BaseHook.get_connection("gofundo_default"))

    assert settings.base_url == "http://127.0.0.1:8080"


def test_no_secret_is_in_the_repr() -> None:
    secrets = {
        "user_password": "wachtwoord-1",
        "refresh_token": "refresh-1",
        "username": "alice@example.org",
        "pseudonym_key_secret": PSEUDONYM_KEY,
    }
    settings = settings_of(None, extra={"grant_type": "password", **secrets})

    assert settings.pseudonym_key_secret == PSEUDONYM_KEY
    for secret in ("secret-machine-1", *secrets.values()):
        assert secret not in repr(settings)


def test_no_key_that_airflow_masks_is_anything_but_a_secret() -> None:
    masked = [name for name in EXTRA_FIELDS if any(word in name for word in ("token", "secret", "password"))]

    assert all(EXTRA_FIELDS[name]["schema"].get("format") == "password" for name in masked)
    assert set(masked) == {"user_password", "refresh_token", "pseudonym_key_secret"}


def test_config_errors_survive_pickling() -> None:
    with pytest.raises(GofundoConfigError) as caught:
        Settings.from_connection(connection(login=None))

    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
