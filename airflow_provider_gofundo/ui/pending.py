"""Pending: a login that somebody began in a browser and has not come back from yet."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
from airflow.models import Variable
from airflow.utils.session import create_session
from sqlalchemy import delete, select

from airflow_provider_gofundo.oauth.lease import SKEW

# With "token" in its name Airflow masks the value wherever it shows it. What follows is a digest of the state.
PREFIX = "gofundo_token_pending__"

# How long somebody may take for Gofundo's login and consent.
LIFE = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class PendingLogin:
    """
    What has to be known again when the browser comes back.

    It lies in an Airflow Variable, encrypted: all API servers reach it, and no browser does. A Variable that is
    deleted counts the rows that went, so of two requests with the same state only one takes it.
    """

    user_id: str
    conn_id: str
    fingerprint: str
    verifier_token: str = field(repr=False)  # Airflow before 3.3 masks JSON by the names in it
    made: datetime

    def keep(self, state: str) -> None:
        """Keep it under the state that the browser takes along; remove those that nobody came back from."""
        with create_session() as session:
            for row in session.scalars(select(Variable).where(Variable.key.startswith(PREFIX, autoescape=True))):
                login = _read(row)
                if login is None or not login.is_alive(self.made):
                    session.delete(row)
        text = msgspec.json.encode(self).decode()
        Variable.set(_key(state), text, description="A Gofundo login on its way. It may be deleted at any time.")

    def is_alive(self, now: datetime) -> bool:
        """Whether it is not too old. Another API server may have begun it, by another clock."""
        return timedelta(seconds=-SKEW) <= now - self.made <= LIFE


def find(state: str) -> PendingLogin | None:
    """Return the login of that state; None where there is none, or it was taken."""
    with create_session() as session:
        return _read(session.scalar(select(Variable).where(Variable.key == _key(state))))


def take(state: str) -> bool:
    """Use it up; says whether it was there. Of any number of callers at once, one hears yes."""
    with create_session() as session:
        gone: Any = session.execute(delete(Variable).where(Variable.key == _key(state)))
        return bool(gone.rowcount == 1)


def _key(state: str) -> str:
    return PREFIX + hashlib.sha256(state.encode()).hexdigest()


def _read(row: Any) -> PendingLogin | None:
    try:
        return msgspec.json.decode(row.val, type=PendingLogin) if row else None
    except (msgspec.DecodeError, TypeError):
        return None
