"""The sandbox as a server to measure against: in a process of its own, its pages rendered beforehand."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

CLIENT_ID, CLIENT_SECRET = "1", "secret-machine-1"


@contextmanager
def sandbox(*switches: str) -> Iterator[str]:
    """Run a sandbox with these command line switches; yields its URL."""
    with tempfile.TemporaryDirectory(prefix="gofundo-bench-") as folder:
        ready = Path(folder, "ready.json")
        command = [sys.executable, "-m", "airflow_provider_gofundo.sandbox", "--port", "0", *switches]
        process = subprocess.Popen([*command, "--ready-file", str(ready)], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit("The sandbox did not start.")
                time.sleep(0.05)
            yield json.loads(ready.read_text())["url"]
        finally:
            process.terminate()
            process.wait()


def login(url: str) -> str:
    """Return an access token, for the contenders that are given one."""
    form = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    with urlopen(f"{url}/oauth/token", urlencode(form).encode()) as answer:
        return str(json.load(answer)["access_token"])


def warm(url: str, token: str, pages: int, per_page: int) -> None:
    """Let the sandbox render every page once, in both orders of the parameters: it remembers by query string."""

    def ask(page: int) -> None:
        for query in (f"per_page={per_page}&page={page}", f"page={page}&per_page={per_page}"):
            with urlopen(Request(f"{url}/api/donations?{query}", headers={"Authorization": f"Bearer {token}"})):
                pass

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(ask, range(1, pages + 1)))


def counters(url: str) -> dict[str, Any]:
    """Return what the sandbox has counted since `forget`."""
    with urlopen(f"{url}/_sandbox/counters") as answer:
        counted: dict[str, Any] = json.load(answer)
    return counted


def forget(url: str) -> None:
    """Let the sandbox count from zero."""
    with urlopen(Request(f"{url}/_sandbox/counters", method="DELETE")):
        pass
