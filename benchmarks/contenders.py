"""Who is measured: the file in `peers/` that pulls, what it runs on, and how it is told to pull."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ROOT / "build" / "bench-envs"

# Pages under way at the same time, for those that can.
PARALLEL = 8


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A virtual environment with these packages."""

    name: str
    packages: tuple[str, ...]


CLIENTS = Environment(name="clients", packages=("requests==2.34.2", "aiohttp==3.14.5", "msgspec==0.22.0"))
AIRFLOW = Environment(
    name="airflow", packages=("apache-airflow==3.3.2", "apache-airflow-providers-http==6.3.0", "requests==2.34.2")
)
DLT = Environment(name="dlt", packages=("dlt[filesystem]==1.31.0", "requests==2.34.2"))


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to pull a list. Without an environment it runs on this project's own."""

    name: str
    peer: str
    environment: Environment | None = None
    parallel: int = 1
    file_format: str = "ndjson"
    keeps_spelling: bool = True
    """Whether it writes what the server said, rather than what fits typed columns."""
    every_round: bool = True
    """False: with latency it goes along in the first round only, as it waits just like the plain loop."""


CONTENDERS = (
    Contender(name="plain", peer="plain", environment=CLIENTS),
    Contender(name="http_operator", peer="http_operator", environment=AIRFLOW, every_round=False),
    Contender(name="dlt", peer="dlt_rest_api", environment=DLT, keeps_spelling=False, every_round=False),
    Contender(name="asyncio", peer="asyncio_client", environment=CLIENTS, parallel=PARALLEL),
    Contender(name="threads", peer="threads", environment=CLIENTS, parallel=PARALLEL),
    Contender(name="us", peer="us", parallel=PARALLEL),
    Contender(name="us_parquet", peer="us", parallel=PARALLEL, file_format="parquet", keeps_spelling=False),
    Contender(name="us_one_by_one", peer="us", every_round=False),
)
BY_NAME = {contender.name: contender for contender in CONTENDERS}


def python_of(environment: Environment | None) -> Path:
    """Return the Python that a contender runs on; makes its environment the first time."""
    if environment is None:
        return Path(sys.executable)
    folder = ENVIRONMENTS / environment.name
    python = folder / "bin" / "python"
    made, wanted = folder / ".packages", " ".join((*environment.packages, sys.version))
    if made.exists() and made.read_text() == wanted:
        return python
    print(f"Installing {' '.join(environment.packages)} into {folder} …", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *environment.packages],
    ):
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            reason = "\n".join(errors or done.stderr.splitlines()[-5:])
            sys.exit(f"{environment.name} could not be installed. Can PyPI be reached from here?\n{reason}")
    made.write_text(wanted)
    return python
