"""Names: what the files of a run are called, and how old they are by that."""

from __future__ import annotations

import re
import secrets
from datetime import datetime, timedelta, timezone

# Files of a run that no manifest names belong to a killed run, or to one that is still at work. After this long
# no pull is still at work.
ABANDONED = timedelta(days=7)

_STAMP = "%Y%m%dT%H%M%SZ"
_OURS = re.compile(
    r"(?P<stamp>\d{8}T\d{6}Z)-[0-9a-f]{8}(-\d{5,}\.(ndjson(\.gz)?|parquet|shard)|\.started|\.manifest)"
)


def run_name(started: datetime) -> str:
    """Return a name for a run that no other run has."""
    return f"{started.astimezone(timezone.utc):{_STAMP}}-{secrets.token_hex(4)}"


def began_later(run: str, than: str) -> bool:
    """Whether a run began later than another, by a second at least."""
    return run.partition("-")[0] > than.partition("-")[0]


def is_abandoned(name: str) -> bool:
    """Whether a file is of a run that cannot be at work any more."""
    match = _OURS.fullmatch(name)
    if match is None:
        return False
    try:
        begun = datetime.strptime(match["stamp"], _STAMP).replace(tzinfo=timezone.utc)
    except ValueError:
        return False
    return begun < datetime.now(timezone.utc) - ABANDONED
