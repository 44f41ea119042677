"""Record: a token as text, for a store that other workers and later versions read."""

from __future__ import annotations

import hashlib
from datetime import datetime

import msgspec

from airflow_provider_gofundo.oauth.token import Token
from airflow_provider_gofundo.settings import Settings

VERSION = 1


class _Record(msgspec.Struct, kw_only=True):
    version: int
    fingerprint: str
    access_token: str
    issued_at: datetime
    expires_at: datetime | None
    refresh_token: str | None
    refresh_expires_at: datetime | None
    renewed_by: str = ""


def fingerprint(settings: Settings) -> str:
    """
    Return a digest of all that a token depends on: server, client, grant, user, scope.

    A token that was stored under another fingerprint belongs to other credentials.
    """
    parts = (
        settings.base_url, settings.client_id, settings.client_secret, settings.grant_type, settings.username,
        settings.user_password, settings.refresh_token, settings.redirect_uri, settings.scope,
    )  # fmt: skip
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def dump(token: Token, fingerprint: str, renewed_by: str = "") -> str:
    """Write a token down, and who got it from the server."""
    record = _Record(
        version=VERSION,
        fingerprint=fingerprint,
        access_token=token.access_token,
        issued_at=token.issued_at,
        expires_at=token.expires_at,
        refresh_token=token.refresh_token,
        refresh_expires_at=token.refresh_expires_at,
        renewed_by=renewed_by,
    )
    return msgspec.json.encode(record).decode()


def load(text: str, fingerprint: str) -> Token | None:
    """Read a token; None for what is not ours, of another version, or of other credentials."""
    record = _read(text, fingerprint)
    if record is None:
        return None
    return Token(
        access_token=record.access_token,
        issued_at=record.issued_at,
        expires_at=record.expires_at,
        refresh_token=record.refresh_token,
        refresh_expires_at=record.refresh_expires_at,
    )


def renewed_by(text: str, fingerprint: str) -> str:
    """Read who got that token from the server; empty where there is none, or nobody knows."""
    record = _read(text, fingerprint)
    return record.renewed_by if record else ""


def _read(text: str, fingerprint: str) -> _Record | None:
    try:
        record = msgspec.json.decode(text, type=_Record)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
    aware = all(
        time is None or time.tzinfo for time in (record.issued_at, record.expires_at, record.refresh_expires_at)
    )
    return record if record.version == VERSION and record.fingerprint == fingerprint and aware else None
