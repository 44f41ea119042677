"""The targets: what has to come out, and whether it did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmarks.contenders import BY_NAME, PARALLEL
from benchmarks.runs import Run
from benchmarks.speed import Result

# Milliseconds of latency: at least so many times the plain loop's speed, and so much of the asyncio client's.
SPEED = {20: (6.0, 0.9), 100: (6.5, 0.95)}

# CPU at no latency, uncompressed: at most so much of the plain loop's, and at least so many times less than these.
NDJSON, PARQUET, TIMES_LESS = 0.35, 0.6, {"http_operator": 4.0, "dlt": 9.0}


@dataclass(frozen=True, kw_only=True)
class Target:
    """A number that has to be at least, or at most, another."""

    about: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool:
        """Whether it is."""
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    def __str__(self) -> str:
        bound = f"at least {self.at_least:g}" if self.at_most is None else f"at most {self.at_most:g}"
        if self.at_least == self.at_most:
            bound = f"exactly {self.at_most:g}"
        return f"  {'met' if self.met else 'MISSED':<8}{self.value:>7.2f}  {bound:<15}{self.about}"


def of_speed(results: Iterable[Result]) -> Iterator[Target]:
    """Yield the targets that can be told from what has been measured."""
    for result in results:
        yield from _speed(result)
        if not result.cell.latency and not result.cell.gzip:
            yield from _cpu(result)
        yield from _manners(result)


def _seconds(run: Run) -> float:
    return run.seconds


def _cpu_seconds(run: Run) -> float:
    return run.cpu


def _speed(result: Result) -> Iterator[Target]:
    for other, bound in zip(("plain", "asyncio"), SPEED.get(result.cell.latency, ()), strict=False):
        ratio = result.ratio(other, "us", _seconds)
        if ratio is not None:
            yield Target(about=f"{result.cell.title}: speed over {other}", value=ratio, at_least=bound)


def _cpu(result: Result) -> Iterator[Target]:
    for name, bound in (("us", NDJSON), ("us_parquet", PARQUET)):
        ratio = result.ratio(name, "plain", _cpu_seconds)
        if ratio is not None:
            yield Target(about=f"{result.cell.title}: CPU of {name} over plain", value=ratio, at_most=bound)
    for name, bound in TIMES_LESS.items():
        ratio = result.ratio(name, "us", _cpu_seconds)
        if ratio is not None:
            yield Target(about=f"{result.cell.title}: CPU of {name} over us", value=ratio, at_least=bound)


def _manners(result: Result) -> Iterator[Target]:
    ours = [name for name in result.runs if BY_NAME[name].environment is None]
    runs = [run for name in ours for run in result.runs[name]]
    if not runs:
        return
    title, pages = result.cell.title, float(result.cell.pages)
    # The number furthest from the right one stands for all.
    asked = max((float(run.pages) for run in runs), key=lambda count: abs(count - pages))
    logins = max((float(run.logins) for run in runs), key=lambda count: abs(count - 1))
    sockets = float(max(run.sockets for run in runs))
    yield Target(about=f"{title}: pages asked for", value=asked, at_least=pages, at_most=pages)
    yield Target(about=f"{title}: logins", value=logins, at_least=1.0, at_most=1.0)
    yield Target(about=f"{title}: open sockets", value=sockets, at_most=float(PARALLEL))
