"""`airflow gofundo tokens`: how long the stored logins are good for."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime

from airflow.cli.simple_table import AirflowConsole

from airflow_provider_gofundo.cli.command import command, hook_of
from airflow_provider_gofundo.exceptions import GofundoStorageError
from airflow_provider_gofundo.oauth.token import now
from airflow_provider_gofundo.state.logins import LoginState, gofundo_connections, login_state


@command
def tokens(args: Namespace) -> None:
    """Print a row for each connection."""
    if args.conn_id:
        hook_of(args.conn_id)
    rows = [_row(login_state(conn_id)) for conn_id in ([args.conn_id] if args.conn_id else _all())]
    AirflowConsole().print_as(data=rows, output=args.output)


def _all() -> list[str]:
    try:
        return gofundo_connections()
    except Exception as error:  # noqa: BLE001  # what comes depends on Airflow's version and database
        reason = type(error).__name__
    raise GofundoStorageError(
        f"Airflow's connections cannot be listed ({reason}); name one, or run this on Airflow's machine."
    )


def _row(login: LoginState) -> dict[str, str]:
    return {
        "conn_id": login.conn_id,
        "grant_type": login.grant_type,
        "state": _state(login, now()),
        "valid_until": _shown(login.valid_until),
        "refreshable_until": _shown(login.refreshable_until),
        "renewed_at": _shown(login.renewed_at),
        "renewed_by": login.renewed_by,
        "problem": login.problem,
    }


def _state(login: LoginState, at: datetime) -> str:
    if login.problem:
        return "unknown"
    if not login.shared:
        return "not shared"
    if login.renewed_at is None:
        return "none"
    if login.valid_until is None or at < login.valid_until:
        return "valid"
    return "refreshable" if login.refreshable_until and at < login.refreshable_until else "expired"


def _shown(moment: datetime | None) -> str:
    return moment.isoformat(timespec="seconds") if moment else ""
