"""
What a long pull costs in memory: as much as a short one.

A sandbox in a process of its own serves a list of 2,000 records and one of 200,000. Each is pulled by a fresh
process whose peak memory is read when it is done. Run it with `make bench`.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

# A list a hundred times as long may cost this many megabytes more at the most.
ALLOWED_MB = 40.0


class Run(NamedTuple):
    """What one pull took."""

    seconds: float
    peak_mb: float


def main() -> int:
    options = arguments()
    if options.pull:
        return pull_once(*options.pull, per_page=options.per_page)
    runs: dict[int, list[Run]] = {}
    for records in (options.short, options.long):
        with sandbox(records) as url:
            runs[records] = [measured(url, records, options.per_page) for _ in range(options.runs)]
    return report(runs, options.runs, options.per_page)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Peak memory of a short and of a long pull.")
    parser.add_argument("--short", type=int, default=2_000, help="records in the short list (%(default)s)")
    parser.add_argument("--long", type=int, default=200_000, help="records in the long list (%(default)s)")
    parser.add_argument("--per-page", type=int, default=500, help="records a page (%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each, of which the median counts (%(default)s)")
    parser.add_argument("--pull", nargs=2, metavar=("URL", "FOLDER"), help=argparse.SUPPRESS)
    return parser.parse_args()


@contextmanager
def sandbox(records: int) -> Iterator[str]:
    """Run a sandbox with a list of that many records; yields its URL."""
    with tempfile.TemporaryDirectory(prefix="gofundo-bench-") as folder:
        ready = Path(folder, "ready.json")
        command = [sys.executable, "-m", "airflow_provider_gofundo.sandbox", "--port", "0", "--records", str(records)]
        process = subprocess.Popen([*command, "--ready-file", str(ready)], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 30
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit("The sandbox did not start.")
                time.sleep(0.05)
            yield json.loads(ready.read_text())["url"]
        finally:
            process.terminate()
            process.wait()


def measured(url: str, records: int, per_page: int) -> Run:
    """Pull in a fresh process, which has nothing in memory but what the pull needs."""
    with tempfile.TemporaryDirectory(prefix="gofundo-bench-") as folder:
        command = [sys.executable, __file__, "--per-page", str(per_page), "--pull", url, folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        told = json.loads(done.stdout)
    if told["records"] != records:
        sys.exit(f"{told['records']:,} of {records:,} records came.")
    return Run(told["seconds"], told["peak_mb"])


def pull_once(url: str, folder: str, *, per_page: int) -> int:
    # Only here, so that the measuring process stays small: on Linux a child's peak begins at its parent's size.
    from types import SimpleNamespace

    from upath import UPath

    from airflow_provider_gofundo.client.client import GofundoClient
    from airflow_provider_gofundo.dataset.pull import pull
    from airflow_provider_gofundo.oauth.grants import grant_for
    from airflow_provider_gofundo.oauth.manager import TokenManager
    from airflow_provider_gofundo.oauth.store import MemoryTokenStore
    from airflow_provider_gofundo.settings import Settings

    connection = SimpleNamespace(
        conn_id="bench", host=url, port=None, schema=None, login="1", password="secret-machine-1", extra=None
    )
    settings = Settings.from_connection(connection)
    with GofundoClient(settings, TokenManager(grant_for(settings), MemoryTokenStore())) as client:
        summary = pull(client, "api/donations", UPath(Path(folder)), query_params={"per_page": per_page})
    # Linux counts in kilobytes, macOS in bytes.
    unit = 1024 if sys.platform != "darwin" else 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    print(json.dumps({"records": summary.records, "seconds": summary.seconds, "peak_mb": peak}))
    return 0


def report(runs: dict[int, list[Run]], count: int, per_page: int) -> int:
    """Print the table; 1 when the long list costs too much more than the short one."""
    print(f"\nPulls of {per_page} records a page, gzip, each in a process of its own; median of {count} runs\n")
    print(f"{'records':>10}{'seconds':>10}{'records/s':>12}{'peak MB':>10}{'more MB':>10}")
    peaks: list[float] = []
    for records, measurements in runs.items():
        seconds = statistics.median(run.seconds for run in measurements)
        peaks.append(statistics.median(run.peak_mb for run in measurements))
        more = peaks[-1] - peaks[0]
        print(f"{records:>10,}{seconds:>10.2f}{records / seconds:>12,.0f}{peaks[-1]:>10.1f}{more:>10.1f}")
    verdict = "within" if more <= ALLOWED_MB else "MORE THAN"
    print(f"\nThe long list costs {more:.1f} MB more than the short one: {verdict} the {ALLOWED_MB:.0f} MB allowed.")
    return 0 if more <= ALLOWED_MB else 1


if __name__ == "__main__":
    raise SystemExit(main())
