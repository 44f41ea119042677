"""One contender, one pull, one process: what it took, as the process and the server saw it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import ENVIRONMENTS, ROOT, Contender, python_of
from benchmarks.server import forget


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one pull took. `sockets` is how many were open at most, `logins` how many token requests there were."""

    seconds: float
    cpu: float
    peak_mb: float
    pages: int
    logins: int
    sockets: int


@dataclass(frozen=True, kw_only=True)
class Written:
    """What one pull wrote; see `benchmarks.checksum`."""

    records: int
    exact: str
    values: str


def run(contender: Contender, url: str, token: str, folder: Path, per_page: int) -> Run:
    """
    Let a contender pull into the folder, in a process of its own.

    The process that calls this had better be small: on Linux a child's peak memory begins at its parent's size.
    """
    command = [str(python_of(contender.environment)), "-m", f"benchmarks.peers.{contender.peer}"]
    options = {
        "url": url,
        "token": token,
        "folder": folder,
        "per-page": per_page,
        "parallel": contender.parallel,
        "file-format": contender.file_format,
    }
    for name, value in options.items():
        command.append(f"--{name}={value}")  # a token may begin with a dash
    forget(url)
    done = subprocess.run(command, cwd=ROOT, env=_variables(), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{contender.name} failed:\n{done.stderr or done.stdout}")
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def written(folder: Path) -> Written:
    """Read what a contender has left in the folder, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.checksum", str(folder / "long")]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return Written(**json.loads(done.stdout))


def _variables() -> dict[str, str]:
    """Environment variables of a contender: nothing of it lands in the user's home, and it says little."""
    home = str(ENVIRONMENTS / "home")
    return {**os.environ, "AIRFLOW_HOME": home, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR", "DLT_DATA_DIR": home}
