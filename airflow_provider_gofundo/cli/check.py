"""`airflow gofundo check`: does this connection work, and if not, what is wrong with it?"""

from __future__ import annotations

from argparse import Namespace

from airflow_provider_gofundo.checkup import Finding
from airflow_provider_gofundo.cli.command import command, hook_of, say
from airflow_provider_gofundo.exceptions import GofundoConfigError


@command
def check(args: Namespace) -> None:
    """Print a line for each step; exit with 1 after one that failed."""
    try:
        hook = hook_of(args.conn_id)
        settings = hook.client.settings
    except GofundoConfigError as error:
        _tell(Finding(step="settings", ok=False, text=str(error)))
    else:
        text = f"{settings.base_url}, {settings.grant_type}, client {settings.client_id}."
        _tell(Finding(step="settings", ok=True, text=text))
        for finding in hook.checkup():
            _tell(finding)


def _tell(finding: Finding) -> None:
    say(
        f"{finding.step:<10}  {'skipped' if finding.skipped else 'ok' if finding.ok else 'FAILED':<7}  {finding.text}"
    )
    if not finding.ok:
        raise SystemExit(1)
