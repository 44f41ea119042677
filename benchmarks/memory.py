"""What a long pull costs in memory: as much as a short one. Each in a fresh process, from a sandbox of its own."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.contenders import BY_NAME, Contender
from benchmarks.runs import Run, run
from benchmarks.server import login, sandbox
from benchmarks.targets import Target

SHORT, LONG = 10_000, 1_000_000
PER_PAGE = 160  # as in the grid; the short list is long enough to have as many pages under way as the long one

# Megabytes that the long list may cost above the short one.
ALLOWED = 10.0


def measure(rounds: int, long: int = LONG) -> list[Target]:
    """Pull both lists so many times into both formats, print the table, and return the targets."""
    us = BY_NAME["us"]
    print(f"\nMemory; {PER_PAGE} records a page, {us.parallel} pages at once, median of {rounds} runs")
    print(f"  {'':<12}{'records':>10}{'seconds':>10}{'records/s':>12}{'peak MB':>10}")
    return [_measure(BY_NAME[name], rounds, long) for name in ("us", "us_parquet")]


def _measure(us: Contender, rounds: int, long: int) -> Target:
    peaks = []
    for records in (SHORT, long):
        with sandbox("--records", str(records)) as url:
            token = login(url)
            runs = [_pull(us, url, token, records) for _ in range(rounds)]
        seconds = statistics.median(run.seconds for run in runs)
        peaks.append(statistics.median(run.peak_mb for run in runs))
        print(
            f"  {us.name:<12}{records:>10,}{seconds:>10.2f}{records / seconds:>12,.0f}{peaks[-1]:>10.1f}", flush=True
        )
    about = f"{us.name}: MB of memory for {long:,} records above {SHORT:,}"
    return Target(about=about, value=peaks[1] - peaks[0], at_most=ALLOWED)


def _pull(us: Contender, url: str, token: str, records: int) -> Run:
    with tempfile.TemporaryDirectory(prefix="gofundo-bench-") as folder:
        took = run(us, url, token, Path(folder), PER_PAGE)
        # What was written is held against the list by the grid; to read Parquet would make this process large, and
        # that would be a large peak of the next child.
        told = json.loads(Path(folder, "long", "_manifest.json").read_bytes())["records"]
    if told != records:
        sys.exit(f"{told:,} of {records:,} records came.")
    return took
