"""What the checks of `older_airflow.py` share: which Airflow this is, and a connection to the sandbox."""

from __future__ import annotations

import contextlib
import json
import os
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from airflow_provider_gofundo.sandbox import Sandbox

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
HOME = Path(os.environ["AIRFLOW_HOME"])

SECRETS = {"password": "secret-machine-1", "user_password": "secret-of-alice", "refresh_token": "secret-of-a-chain"}


def connection(sandbox: Sandbox, **extra: Any) -> dict[str, Any]:
    """A connection to the sandbox, as Airflow's REST API takes it."""
    host, _, port = sandbox.url.rpartition(":")
    standard = {
        "conn_type": "gofundo",
        "host": host,
        "port": int(port),
        "login": "1",
        "password": SECRETS["password"],
    }
    return {**standard, "extra": json.dumps({"check_endpoint": "api/donations", **extra})}


def either(*names: str) -> Any:
    """The first of these, each `module:attribute`, that this Airflow has."""
    for name in names:
        module, _, attribute = name.partition(":")
        with contextlib.suppress(ImportError, AttributeError):
            return getattr(import_module(module), attribute)
    raise ImportError(" or ".join(names))
