"""The grid: every contender at every latency, gzip on the wire off and on, one after the other, round by round."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contenders import Contender
from benchmarks.runs import Run, Written, run, written
from benchmarks.server import login, sandbox, warm

# Of the sandbox's donations; 62 kB a page. What a call costs weighs more the smaller a page is.
PER_PAGE = 160

# Pages by latency in milliseconds: enough for a time that can be compared, and all of it in minutes.
PAGES = {0: 400, 20: 161, 100: 81}
PAGES_QUICK = {0: 40, 20: 33, 100: 17}


@dataclass(frozen=True)
class Cell:
    """One square of the grid: milliseconds every answer waits, compression on the wire, pages, records a page."""

    latency: int
    gzip: bool
    pages: int
    per_page: int = PER_PAGE

    @property
    def records(self) -> int:
        """How long the list is."""
        return self.pages * self.per_page

    @property
    def title(self) -> str:
        """What it is called in tables."""
        return f"{self.latency} ms, gzip {'on' if self.gzip else 'off'}"


@dataclass
class Result:
    """What was measured in one cell: the runs of each contender by its name, and what each had written."""

    cell: Cell
    runs: dict[str, list[Run]] = field(default_factory=dict)
    written: dict[str, Written] = field(default_factory=dict)

    def median(self, name: str, what: Callable[[Run], float]) -> float:
        """Return the median of a contender's runs."""
        return statistics.median(map(what, self.runs[name]))

    def ratio(self, above: str, below: str, what: Callable[[Run], float]) -> float | None:
        """Return the median of the ratios within a round, None when one of the two did not run."""
        pairs = zip(self.runs.get(above, ()), self.runs.get(below, ()), strict=False)
        ratios = [what(one) / what(other) for one, other in pairs]
        return statistics.median(ratios) if ratios else None


def measure(cell: Cell, contenders: Sequence[Contender], rounds: int) -> Result:
    """Measure one cell: A B C A B C, against one sandbox."""
    result = Result(cell)
    switches = ["--latency-ms", str(cell.latency), "--records", str(cell.records)]
    with sandbox(*switches, *(["--gzip"] if cell.gzip else [])) as url:
        token = login(url)
        warm(url, token, cell.pages, cell.per_page)
        say(f"{cell.title}: round")
        for number in range(rounds):
            say(f" {number + 1}")
            for contender in contenders:
                if number and cell.latency and not contender.every_round:
                    continue
                with tempfile.TemporaryDirectory(prefix="gofundo-bench-") as folder:
                    took = run(contender, url, token, Path(folder), cell.per_page)
                    result.runs.setdefault(contender.name, []).append(took)
                    if not number:
                        result.written[contender.name] = written(Path(folder))
    say(f" of {rounds}\n")
    return result


def say(text: str) -> None:
    """Tell whoever waits, beside the tables."""
    print(text, end="", file=sys.stderr, flush=True)


def differences(result: Result, contenders: Sequence[Contender]) -> list[str]:
    """Return who wrote something else than the first of them, or not all there was."""
    told = []
    expected = result.cell.records
    first = result.written[contenders[0].name]
    for contender in contenders:
        mine = result.written[contender.name]
        if mine.records != expected:
            told.append(f"{contender.name} wrote {mine.records:,} of {expected:,} records")
        elif mine.values != first.values:
            told.append(f"{contender.name} wrote other values than {contenders[0].name}")
        elif contender.keeps_spelling and contenders[0].keeps_spelling and mine.exact != first.exact:
            told.append(f"{contender.name} wrote some values in another way than {contenders[0].name}")
    return [f"{result.cell.title}: {text}." for text in told]


def table(result: Result) -> str:
    """Return the table of one cell."""
    times = f"{'seconds':>9}{'x plain':>9}{'CPU s':>8}{'/ plain':>9}"
    counts = f"{'peak MB':>9}{'pages':>7}{'logins':>8}{'sockets':>9}"
    lines = [
        f"\n{result.cell.title}; {result.cell.pages} pages of {result.cell.per_page} records",
        f"  {'':<15}{'runs':>4}{times}{counts}  values",
    ]
    for name, runs in result.runs.items():
        faster = result.ratio("plain", name, lambda run: run.seconds)
        costs = result.ratio(name, "plain", lambda run: run.cpu)
        lines.append(
            f"  {name:<15}{len(runs):>4}"
            f"{result.median(name, lambda run: run.seconds):>9.2f}{shown(faster):>9}"
            f"{result.median(name, lambda run: run.cpu):>8.2f}{shown(costs):>9}"
            f"{result.median(name, lambda run: run.peak_mb):>9.1f}"
            f"{max(run.pages for run in runs):>7}{max(run.logins for run in runs):>8}"
            f"{max(run.sockets for run in runs):>9}  {result.written[name].values[:8]}"
        )
    return "\n".join(lines)


def shown(ratio: float | None) -> str:
    """A ratio, or a dash where there is none."""
    return "-" if ratio is None else f"{ratio:.2f}"
