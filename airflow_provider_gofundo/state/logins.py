"""Logins: what is known of every connection's login, for people to look at. Nothing here is secret."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_gofundo.exceptions import GofundoError
from airflow_provider_gofundo.oauth import record
from airflow_provider_gofundo.settings import Settings
from airflow_provider_gofundo.state.connections import find_connection
from airflow_provider_gofundo.state.login import PREFIX
from airflow_provider_gofundo.state.variables import VariableCell

log = logging.getLogger(__name__)

CONN_TYPE = "gofundo"
_ENVIRONMENT = "AIRFLOW_CONN_"


@dataclass(frozen=True, kw_only=True)
class LoginState:
    """
    What is known of one connection's login.

    `problem` says what is wrong with the connection, empty where nothing is. The times are None where there is no
    token, or nobody knows; `renewed_by` says who got it, a task or a person. Without `shared` each process keeps a
    login to itself, and there is nothing to see here.
    """

    conn_id: str
    grant_type: str = ""
    problem: str = ""
    renewed_at: datetime | None = None
    valid_until: datetime | None = None
    refreshable_until: datetime | None = None
    renewed_by: str = ""
    shared: bool = True


def login_state(conn_id: str) -> LoginState:
    """Return what is known of a connection's login. It asks no server, and never fails: `problem` says it."""
    try:
        settings = settings_of(conn_id)
    except GofundoError as error:
        return LoginState(conn_id=conn_id, problem=str(error))
    except Exception as error:  # noqa: BLE001  # what comes depends on Airflow's version and secrets backend
        log.debug("Connection %s cannot be read: %s", conn_id, type(error).__name__)
        return LoginState(
            conn_id=conn_id, problem=f"Connection '{conn_id}' cannot be read; is there one of that name?"
        )
    known: dict[str, Any] = {"conn_id": conn_id, "grant_type": settings.grant_type, "shared": settings.share_login}
    if not settings.share_login:
        return LoginState(**known)
    try:
        text = VariableCell(PREFIX + conn_id).read()
    except Exception as error:  # noqa: BLE001  # as above
        return LoginState(**known, problem=f"Airflow's Variables cannot be read ({type(error).__name__}).")
    fingerprint = record.fingerprint(settings)
    token = record.load(text, fingerprint)
    if token is None or not token.access_token:  # a chain may have begun with nothing but a refresh token
        return LoginState(**known)
    return LoginState(
        **known,
        renewed_at=token.issued_at,
        valid_until=token.expires_at,
        refreshable_until=token.refresh_expires_at,
        renewed_by=record.renewed_by(text, fingerprint),
    )


def settings_of(conn_id: str) -> Settings:
    """Return a connection's settings, from wherever this Airflow keeps it; raises what comes when there is none."""
    from airflow.providers.common.compat.sdk import BaseHook

    return Settings.from_connection(find_connection(conn_id, BaseHook.get_connection))


def gofundo_connections() -> list[str]:
    """
    Return the ids of all gofundo connections in Airflow's database and in this process's environment, sorted.

    For the API server and the command line. No secrets backend can list what it has, so those are left out.
    """
    from airflow.models import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        query = session.query(Connection.conn_id).filter(Connection.conn_type == CONN_TYPE)
        ids = {str(conn_id) for (conn_id,) in query}
    named = {name[len(_ENVIRONMENT) :].lower() for name in os.environ if name.startswith(_ENVIRONMENT)}
    # A name in the environment has lost its capitals.
    new = named - {conn_id.lower() for conn_id in ids}
    return sorted(ids | {conn_id for conn_id in new if is_gofundo(conn_id)})


def is_gofundo(conn_id: str) -> bool:
    """Whether there is a connection of that id, and it is one of ours."""
    from airflow.providers.common.compat.sdk import BaseHook

    try:
        return bool(find_connection(conn_id, BaseHook.get_connection).conn_type == CONN_TYPE)
    except Exception as error:  # noqa: BLE001  # none there, or one that cannot be read
        log.debug("Connection %s cannot be read: %s", conn_id, type(error).__name__)
        return False
