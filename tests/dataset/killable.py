"""
Runs pulls in processes of their own, made to be killed.

    python -m tests.dataset.killable URL

It reads lines: JSON begins a pull, with the arguments of `tests.fixtures.pull` and the file of its checkpoint; "kill"
ends it at once, anything else lets it come to its end. It says "ready" when it is, "begun" for each pull, and the
status of each process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from upath import UPath

import airflow_provider_gofundo.dataset.parquet  # noqa: F401  # takes long, so before the fork
from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.dataset.checkpoint import Checkpoint
from airflow_provider_gofundo.exceptions import GofundoStopped
from airflow_provider_gofundo.oauth.grants import grant_for
from airflow_provider_gofundo.oauth.manager import TokenManager
from airflow_provider_gofundo.oauth.store import MemoryTokenStore
from airflow_provider_gofundo.settings import Settings
from tests.fixtures import pull, settings_of

# How a process ends whose pull has been left aside for a later one.
OVERTAKEN = 3

ROOT = Path(__file__).resolve().parents[2]


class FileCheckpoints:
    """One text in a file, replaced in one step."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> str:
        try:
            return self.file.read_text()
        except FileNotFoundError:
            return ""

    def write(self, text: str) -> None:
        draft = self.file.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        draft.write_text(text)
        draft.replace(self.file)

    def clear(self) -> None:
        self.file.unlink(missing_ok=True)


# The names of a later try, by its clock, and of one whose clock is behind.
LATER, BEHIND = "99991231T235959Z-00000000", "00010101T000000Z-00000000"


def take_over(store: FileCheckpoints, run: str = LATER) -> str:
    """Say in the store what a later try says there, and return it."""
    now = datetime.now(timezone.utc)
    left = Checkpoint.decode(store.read()) or Checkpoint(
        recipe="?", started=now, saved=now, parts=[], step=None, count=0, mark="", pages=0, total=None
    )
    store.write(replace(left, run=run, overtaken=[*left.overtaken, left.run]).encode())
    return store.read()


class Worker:
    """Pulls in a process that can be killed."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.dataset.killable", url],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._heard() == "ready"

    def begin(self, **job: Any) -> None:
        self._say(json.dumps(job))
        assert self._heard() == "begun"

    def kill(self) -> None:
        self._say("kill")
        assert self._heard() in ("9", "0")  # 0 where it was over a moment before

    def wait(self) -> int:
        """Let the pull come to its end; answer the status of the process."""
        self._say("wait")
        return os.waitstatus_to_exitcode(int(self._heard()))

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for what is under way."""
        self._process.communicate()

    def _say(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _heard(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


def main() -> None:
    settings = settings_of(sys.argv[1])
    tokens = TokenManager(grant_for(settings), MemoryTokenStore())
    tokens.token()
    print("ready", flush=True)
    for line in iter(sys.stdin.readline, ""):
        process = os.fork()
        if not process:
            _pull(settings, tokens, json.loads(line))
        print("begun", flush=True)
        if sys.stdin.readline() == "kill\n":
            os.kill(process, signal.SIGKILL)
        print(os.waitpid(process, 0)[1], flush=True)


def _pull(settings: Settings, tokens: TokenManager, job: dict[str, Any]) -> None:
    status = 1
    try:
        checkpoints = FileCheckpoints(Path(job.pop("checkpoint"))) if "checkpoint" in job else None
        path = UPath(Path(job.pop("folder")))
        with GofundoClient(settings, tokens) as client:
            pull(client, job.pop("endpoint"), path, checkpoints=checkpoints, **job)
        status = 0
    except GofundoStopped:
        status = OVERTAKEN
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
