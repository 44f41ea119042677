"""What a long pull costs in memory: as much as a short one. Each in a fresh process, from a sandbox of its own."""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.contenders import BY_NAME
from benchmarks.runs import Run, run
from benchmarks.server import login, sandbox
from benchmarks.targets import Target

SHORT, LONG = 10_000, 1_000_000
PER_PAGE = 160  # as in the grid; the short list is long enough to have as many pages under way as the long one

# Megabytes that the long list may cost above the short one.
ALLOWED = 10.0


def measure(rounds: int, long: int = LONG) -> list[Target]:
    """Pull both lists so many times, print the table, and return the target."""
    us = BY_NAME["us"]
    print(f"\nMemory; {PER_PAGE} records a page, {us.parallel} pages at once, median of {rounds} runs")
    print(f"  {'records':>10}{'seconds':>10}{'records/s':>12}{'peak MB':>10}")
    peaks = []
    for records in (SHORT, long):
        with sandbox("--records", str(records)) as url:
            token = login(url)
            runs = [_pull(url, token, records) for _ in range(rounds)]
        seconds = statistics.median(run.seconds for run in runs)
        peaks.append(statistics.median(run.peak_mb for run in runs))
        print(f"  {records:>10,}{seconds:>10.2f}{records / seconds:>12,.0f}{peaks[-1]:>10.1f}", flush=True)
    about = f"MB of memory for {long:,} records above {SHORT:,}"
    return [Target(about=about, value=peaks[1] - peaks[0], at_most=ALLOWED)]


def _pull(url: str, token: str, records: int) -> Run:
    with tempfile.TemporaryDirectory(prefix="gofundo-bench-") as folder:
        took = run(BY_NAME["us"], url, token, Path(folder), PER_PAGE)
        lines = sum(_lines(file) for file in Path(folder, "long").glob("*.ndjson"))
    if lines != records:
        sys.exit(f"{lines:,} of {records:,} records came.")
    return took


def _lines(file: Path) -> int:
    # Piece by piece: a large process here would be a large peak of the next child.
    with file.open("rb") as pieces:
        return sum(piece.count(b"\n") for piece in iter(lambda: pieces.read(1 << 16), b""))
