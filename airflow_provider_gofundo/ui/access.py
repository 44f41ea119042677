"""Access: who may see and press what, and whether it was really them who pressed."""

from __future__ import annotations

import hmac
import json
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails
from airflow.configuration import conf
from airflow.models import Connection
from airflow.models.crypto import get_fernet
from starlette.requests import Request

from airflow_provider_gofundo.oauth.lease import SKEW

# How long a page may lie open before its buttons are pressed.
LIFE = timedelta(hours=8)


class Refused(Exception):
    """An answer that is a page of its own: what happened, and what to do."""

    def __init__(self, status: int, title: str, text: str, *, conn_id: str = "") -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.text = text
        self.conn_id = conn_id


def may_edit(user: Any, conn_id: str | None = None) -> bool:
    """Whether Airflow lets this user edit this connection; without one, connections at all."""
    details = None
    if conn_id is not None:
        team = {"team_name": Connection.get_team_name(conn_id)} if _has_teams() else {}
        details = ConnectionDetails(conn_id=conn_id, **team)
    return bool(get_auth_manager().is_authorized_connection(method="PUT", details=details, user=user))


def require_edit(user: Any, conn_id: str | None = None) -> None:
    """Refuse whoever may not edit it."""
    if not may_edit(user, conn_id):
        raise Refused(
            403, "Not allowed", "These pages are for who may edit connections in Airflow. Ask your administrator."
        )


def _has_teams() -> bool:
    return bool(conf.getboolean("core", "multi_team", fallback=False))


def require_encryption() -> None:
    """Refuse where Airflow has no Fernet key: it would keep the login unencrypted, and we could not seal forms."""
    if not get_fernet().is_encrypted:
        raise Refused(
            409,
            "Airflow has no Fernet key",
            "Without one it keeps logins unencrypted. Set [core] fernet_key, for every component of Airflow alike.",
        )


def seal(user: Any, conn_id: str, now: datetime) -> str:
    """Return what proves that a form of this connection was given to this user; empty without a Fernet key."""
    fernet = get_fernet()
    text = json.dumps([*_form_of(user, conn_id), now.isoformat()])
    return fernet.encrypt(text.encode()).decode() if fernet.is_encrypted else ""


def require_own_press(request: Request, user: Any, conn_id: str, sealed: str, now: datetime) -> None:
    """Refuse a POST that another site made the browser send, or that is not of a form of this user."""
    require_encryption()
    if not _from_here(request) or not _is_fresh(sealed, user, conn_id, now):
        raise Refused(
            403,
            "This form is not valid any more",
            "It was not sent from a page of yours, or that page is old. Nothing was done. Open the connection's page "
            "and press the button again.",
            conn_id=conn_id,
        )


def _from_here(request: Request) -> bool:
    """Browsers say where a form came from; what says nothing is no browser, and needs the seal all the same."""
    origin = request.headers.get("origin")
    hosts = {request.headers.get("host", ""), urlsplit(conf.get("api", "base_url", fallback="") or "").netloc}
    if origin is not None and urlsplit(origin).netloc not in hosts - {""}:
        return False
    return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _is_fresh(sealed: str, user: Any, conn_id: str, now: datetime) -> bool:
    try:
        purpose, whose, which, made = json.loads(get_fernet().decrypt(sealed.encode()))
        age = now - datetime.fromisoformat(made)
    except Exception:  # noqa: BLE001  # whatever is wrong with it, it is not one of ours
        return False
    found = json.dumps([purpose, whose, which])
    return hmac.compare_digest(found, json.dumps(_form_of(user, conn_id))) and timedelta(seconds=-SKEW) <= age <= LIFE


def _form_of(user: Any, conn_id: str) -> list[str]:
    return ["gofundo form", str(user.get_id()), conn_id]
