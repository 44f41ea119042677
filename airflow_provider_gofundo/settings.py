"""Settings: the Airflow Connection as one frozen, checked value. The only place that knows field names."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol
from urllib.parse import urlsplit

from airflow_provider_gofundo.exceptions import GofundoConfigError, without_frames
from airflow_provider_gofundo.form import DEFAULT_HOST, EXTRA_FIELDS, GRANT_TYPES, STANDARD_LABELS

log = logging.getLogger(__name__)

_LOOPBACK_NAMES = ("localhost", "::1")
_DEFAULT_PORTS = {"https": 443, "http": 80}
# Characters of the key of pseudonyms.
LEAST_KEY_LENGTH = 16

# RFC 3986, without what a header of our pages would take for the end of a URL.
_PLAIN_URL = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&()*+=%-]+")
_YES_NO = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class ConnectionLike(Protocol):
    """The attributes of an Airflow Connection that are read here."""

    conn_id: Any
    host: Any
    port: Any
    login: Any
    password: Any
    schema: Any
    extra: Any


@dataclass(frozen=True, kw_only=True)
class Settings:
    """
    What a `gofundo` connection says, checked.

    `base_url` has no slash at its end. `timeout` and `refresh_lifetime` are seconds. Secrets are kept out of
    the repr.
    """

    conn_id: str
    base_url: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    grant_type: str = "client_credentials"
    username: str | None = field(default=None, repr=False)
    user_password: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    redirect_uri: str | None = None
    refresh_lifetime: float = 3600
    scope: str = ""
    timeout: float = 30
    max_attempts: int = 5
    requests_per_minute: float | None = None
    ca_bundle: str | None = None
    check_endpoint: str | None = None
    pseudonym_key_secret: str | None = field(default=None, repr=False)
    share_login: bool = True

    def __reduce__(self) -> NoReturn:
        """Refuse: a pickle would hold the secrets. Pickle the connection's id."""
        raise TypeError("Settings hold secrets and are not pickled.")

    @classmethod
    @without_frames
    def from_connection(cls, connection: ConnectionLike) -> Settings:
        """
        Read and check a connection, however it was stored: form, JSON, URI or environment variable.

        GofundoConfigError names the first field that has to be corrected, as the form labels it.
        """
        conn_id = str(connection.conn_id or "")
        try:
            return cls(conn_id=conn_id, **_values(connection))
        except GofundoConfigError as error:
            text = f"Connection '{conn_id}': {error}"
        raise GofundoConfigError(text)


def _values(connection: ConnectionLike) -> dict[str, Any]:
    extra = _Extra.parse(connection.extra)
    unused = [*extra.unknown, *(["Schema"] if connection.schema else [])]
    if unused:
        log.warning("Connection '%s' has fields that are not used: %s", connection.conn_id, ", ".join(unused))

    values: dict[str, Any] = {
        "base_url": _base_url(connection.host, connection.port),
        "client_id": _credential("client_id", connection.login),
        "client_secret": _credential("client_secret", connection.password),
        "grant_type": extra.choice("grant_type", GRANT_TYPES) or "client_credentials",
        "username": extra.text("username"),
        "user_password": extra.text("user_password"),
        "refresh_token": extra.text("refresh_token"),
        "redirect_uri": extra.text("redirect_uri"),
        "refresh_lifetime": extra.number("refresh_lifetime", default=3600, least=1),
        "scope": extra.text("scope") or "",
        "timeout": extra.number("timeout", default=30, least=0.1, most=3600),
        "max_attempts": extra.whole("max_attempts", default=5, least=1),
        "requests_per_minute": extra.number("requests_per_minute", default=None, least=0.1),
        "ca_bundle": extra.file("ca_bundle"),
        "check_endpoint": extra.text("check_endpoint"),
        "pseudonym_key_secret": _credential("pseudonym_key_secret", extra.text("pseudonym_key_secret")),
        "share_login": extra.yes_no("share_login", default=True),
    }
    _require_fields_of_grant(values)
    key = values["pseudonym_key_secret"]
    if key and len(key) < LEAST_KEY_LENGTH:
        raise GofundoConfigError(f"{_label('pseudonym_key_secret')} has fewer than {LEAST_KEY_LENGTH} characters.")
    return values


def _require_fields_of_grant(values: Mapping[str, Any]) -> None:
    """A public client (PKCE) has no secret; only these two grants are never used by one."""
    needs = {
        "client_credentials": ("client_secret",),
        "password": ("client_secret", "username", "user_password"),
        "authorization_code": ("redirect_uri",),
        "refresh_token": ("refresh_token",),
    }
    grant_type = values["grant_type"]
    for name in ("client_id", *needs[grant_type]):
        if not values[name]:
            raise GofundoConfigError(f"{_label(name)} is empty; the {grant_type} grant needs it.")


def _credential(name: str, value: str | None) -> str | None:
    if value and value != value.strip():
        raise GofundoConfigError(f"{_label(name)} begins or ends with white space; paste it again without.")
    return value or None


def _base_url(host: str | None, port: int | None) -> str:
    label = _label("host")
    text = (host or DEFAULT_HOST).strip().rstrip("/")
    try:
        url = urlsplit(text if "://" in text else f"https://{text}")
        name, own_port = url.hostname, url.port
    except ValueError:
        raise GofundoConfigError(f"{label} is not a URL; write it like {DEFAULT_HOST}.") from None
    if not name or name[0] in "*." or url.scheme not in _DEFAULT_PORTS or not _PLAIN_URL.fullmatch(text):
        raise GofundoConfigError(f"{label} is not an http(s) URL; write it like {DEFAULT_HOST}.")
    if "@" in url.netloc or "?" in text or "#" in text:
        raise GofundoConfigError(
            f"{label} holds more than scheme, name, port and path; write it like {DEFAULT_HOST}."
        )
    if port and not 0 < int(port) < 65536:
        raise GofundoConfigError("Port must be a number from 1 to 65535.")
    if port and own_port and int(port) != own_port:
        raise GofundoConfigError(f"{label} says port {own_port} but Port says {port}; leave one of them empty.")
    if url.scheme == "http" and not is_loopback(name):
        raise GofundoConfigError(
            f"{label} begins with http://, which would send the Client Secret unencrypted; use https://."
        )
    effective = own_port or (int(port) if port else None)
    shown = f"[{name}]" if ":" in name else name
    suffix = "" if effective in (None, _DEFAULT_PORTS[url.scheme]) else f":{effective}"
    return f"{url.scheme}://{shown}{suffix}{url.path}"


def is_loopback(name: str) -> bool:
    """Whether a host name stays on this machine: 127.0.0.0/8, ::1 and localhost."""
    parts = name.split(".")
    return name in _LOOPBACK_NAMES or (
        len(parts) == 4 and parts[0] == "127" and all(part.isdigit() for part in parts)
    )


def _label(name: str) -> str:
    """What the form calls a field."""
    return STANDARD_LABELS.get(name) or str(EXTRA_FIELDS[name]["label"])


class _Extra:
    """The connection's extra, read field by field. Null, a missing key and an empty text all mean unset."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = {key: value for key, value in fields.items() if value is not None and value != ""}
        self.unknown = sorted(set(self._fields) - set(EXTRA_FIELDS))

    @classmethod
    def parse(cls, extra: str | None) -> _Extra:
        try:
            fields = json.loads(extra or "{}")
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise GofundoConfigError('Extra is not a JSON object; write it like {"timeout": 30}.')
        return cls(fields)

    def text(self, name: str) -> str | None:
        value = self._fields.get(name)
        if type(value) is int:  # what Airflow 2 makes of ?username=1 in a URI
            value = str(value)
        if value is not None and not isinstance(value, str):
            raise GofundoConfigError(f"{_label(name)} must be a text.")
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str | None:
        value = self.text(name)
        if value is not None and value not in choices:
            raise GofundoConfigError(f"{_label(name)} must be one of {', '.join(choices)}.")
        return value

    def number(self, name: str, *, default: float | None, least: float, most: float = 1e9) -> float | None:
        value = self._fields.get(name, default)
        if value is None:
            return None
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not least <= number <= most:
            bounds = f"at least {least:g}" if most == 1e9 else f"from {least:g} to {most:g}"
            raise GofundoConfigError(f"{_label(name)} must be a number, {bounds}.")
        return number

    def whole(self, name: str, *, default: int, least: int) -> int:
        number = self.number(name, default=default, least=least)
        if number is None or not number.is_integer():
            raise GofundoConfigError(f"{_label(name)} must be a whole number, at least {least}.")
        return int(number)

    def yes_no(self, name: str, *, default: bool) -> bool:
        answer = _YES_NO.get(str(self._fields.get(name, default)).lower())
        if answer is None:
            raise GofundoConfigError(f"{_label(name)} must be true or false.")
        return answer

    def file(self, name: str) -> str | None:
        path = self.text(name)
        if path and not Path(path).is_file():
            raise GofundoConfigError(f"{_label(name)} names a file that does not exist here.")
        return path
