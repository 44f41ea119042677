"""What all contenders share: their arguments, the clock, and the line of JSON they print."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from benchmarks.server import counters, forget

FileFormat = Literal["ndjson", "parquet"]

# A list of three pages, and the one that is timed.
SHORT, LONG = "api/donors", "api/donations"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One pull: the whole of a list into a folder that exists and is empty."""

    url: str
    token: str
    endpoint: str
    folder: Path
    per_page: int
    parallel: int
    file_format: FileFormat

    @property
    def address(self) -> str:
        """The URL of the list."""
        return f"{self.url}/{self.endpoint}"

    @property
    def name(self) -> str:
        """The name of the list."""
        return self.endpoint.rsplit("/", 1)[-1]


def main(pull: Callable[[Job], None]) -> None:
    """
    Time one pull, and print what it took.

    Before it comes a short one that nobody times, for what is imported or logged in at first use. CPU seconds are
    those of this process and its children; sockets, pages and logins are what the server has seen.
    """
    job = _job()
    warm_up = replace(job, endpoint=SHORT, folder=job.folder / "short")
    warm_up.folder.mkdir()
    pull(warm_up)
    before = counters(job.url)
    forget(job.url)
    job = replace(job, folder=job.folder / "long")
    job.folder.mkdir()
    cpu, began = _cpu(), time.perf_counter()
    pull(job)
    seconds, cpu = time.perf_counter() - began, _cpu() - cpu
    after = counters(job.url)
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpu": cpu,
                "peak_mb": _peak_mb(),
                "pages": after["requests"].get(f"GET /{LONG}", 0),
                "logins": sum(sum(seen["grants"].values()) for seen in (before, after)),
                "sockets": after["connections_max"],
            }
        )
    )


def _job() -> Job:
    parser = argparse.ArgumentParser()
    for name in ("url", "token", "folder", "file-format"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("per-page", "parallel"):
        parser.add_argument(f"--{name}", type=int, required=True)
    given = parser.parse_args()
    return Job(
        url=given.url,
        token=given.token,
        endpoint=LONG,
        folder=Path(given.folder),
        per_page=given.per_page,
        parallel=given.parallel,
        file_format=given.file_format,
    )


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _peak_mb() -> float:
    # Linux counts in kilobytes, macOS in bytes.
    unit = 1024 if sys.platform != "darwin" else 1
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return most * unit / 1e6
