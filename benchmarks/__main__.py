"""The command `python -m benchmarks`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from benchmarks import imports, memory, sensors, speed
from benchmarks.contenders import BY_NAME, CONTENDERS, Contender, python_of
from benchmarks.speed import PAGES, PAGES_QUICK, PER_PAGE, Cell
from benchmarks.targets import Target, of_speed


def main() -> int:
    options = arguments()
    # So that a sandbox ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    targets: list[Target] = []
    wrong: list[str] = []
    wanted = [options.part] if options.part else ["speed", "imports", "memory", "sensors"]
    if "speed" in wanted:
        measured, wrong = grid(options)
        targets += measured
    if "imports" in wanted:
        targets += imports.measure(options.runs)
    if "memory" in wanted:
        targets += memory.measure(min(3, options.runs), memory.LONG // 10 if options.quick else memory.LONG)
    if "sensors" in wanted:
        targets += sensors.measure(quick=options.quick)
    if options.quick:
        print(
            "\nQuick: one short run of each. It shows that all of it works, and nothing about speed.",
            *wrong,
            sep="\n",
        )
        return 1 if wrong else 0
    print("\nTargets", *map(str, targets), *wrong, sep="\n")
    return 1 if wrong or any(not target.met for target in targets) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What a pull costs, beside others.")
    parser.add_argument("part", nargs="?", choices=("speed", "memory", "imports", "sensors"), help="only this part")
    parser.add_argument("--runs", type=int, default=5, help="rounds, of which the median counts (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="one round over short lists, to see that it works")
    parser.add_argument("--only", nargs="+", choices=BY_NAME, default=list(BY_NAME), help="only these contenders")
    parser.add_argument(
        "--latency", nargs="+", type=int, choices=PAGES, default=list(PAGES), help="only these latencies, in ms"
    )
    parser.add_argument("--per-page", type=int, default=PER_PAGE, help="records a page (%(default)s)")
    parser.add_argument("--gzip", choices=("off", "on", "both"), help="compression on the wire (both; quick: off)")
    options = parser.parse_args()
    if options.quick:
        options.runs = 1
    options.gzip = options.gzip or ("off" if options.quick else "both")
    return options


def grid(options: argparse.Namespace) -> tuple[list[Target], list[str]]:
    """Measure all cells and print their tables; return the targets, and who wrote something else."""
    contenders: Sequence[Contender] = [contender for contender in CONTENDERS if contender.name in options.only]
    for contender in contenders:
        python_of(contender.environment)
    pages = PAGES_QUICK if options.quick else PAGES
    on_the_wire = {"off": [False], "on": [True], "both": [False, True]}[options.gzip]
    results, wrong = [], []
    for gzip in on_the_wire:
        for latency in options.latency:
            result = speed.measure(Cell(latency, gzip, pages[latency], options.per_page), contenders, options.runs)
            print(speed.table(result), flush=True)
            results.append(result)
            wrong += speed.differences(result, contenders)
    return list(of_speed(results)), wrong


if __name__ == "__main__":
    raise SystemExit(main())
