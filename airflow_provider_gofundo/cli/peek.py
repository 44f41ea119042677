"""`airflow gofundo peek`: what is this list, and what do I put in a DAG?"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from itertools import chain, islice

import msgspec

from airflow_provider_gofundo.cli.command import command, hook_of, printable, say
from airflow_provider_gofundo.cli.sample import Sample, shape, task
from airflow_provider_gofundo.pages.shapes import Page


@command
def peek(args: Namespace) -> None:
    """Read as much of a list as is shown, and print what there is to know. Records are printed, never logged."""
    query_params = dict(args.query_param or ())
    with (hook := hook_of(args.conn_id)).client:
        pages = hook.pages(args.endpoint, query_params=query_params, parallel=1)
        first = next(pages)
        sample = Sample(first)
        say(printable(f"{args.endpoint}: {_size(first)}."))
        say(f"Shape: {shape(first)}.")
        if not first.records:
            say("There is no record to look at; take away a parameter, or use a connection that sees some.")
            return
        _print_all("Fields", sample.field_lines())
        personal = sample.personal()
        if personal:
            _print_all("May be personal, going by names only; check the others too", personal)
        if args.records and not args.no_values:
            _print_all("First records", _records(first, pages, args))
    block = task(args.endpoint, sample, conn_id=args.conn_id, query_params=query_params, personal=personal)
    _print_all("In a DAG", block.split("\n"))


def _records(first: Page, rest: Iterator[Page], args: Namespace) -> Iterator[str]:
    pages = chain([first], rest) if args.records > len(first.records) else iter([first])
    for record in islice((record for page in pages for record in page.records), args.records):
        yield from msgspec.json.format(bytes(record), indent=2).decode().split("\n")


def _print_all(title: str, lines: Iterator[str] | list[str]) -> None:
    say(f"\n{title}:")
    for line in lines:
        say(printable(f"  {line}"))


def _size(page: Page) -> str:
    count = len(page.records)
    if page.next is None and page.last_page in (None, 1):
        return f"{count:,} records, on one page"
    if page.total is None:
        return f"{page.per_page or count:,} records a page; how many there are it does not say"
    pages = page.last_page or -(-page.total // max(page.per_page or count, 1))
    return f"{page.total:,} records on {pages:,} pages of {page.per_page or count:,}"
