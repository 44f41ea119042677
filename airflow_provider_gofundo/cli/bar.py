"""Bar: how far a pull is, on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.pages.walk import walk

# Seconds between two looks.
EVERY = 0.25


@contextmanager
def bar(
    client: GofundoClient, endpoint: str, query_params: Mapping[str, Any], *, console: Console | None = None
) -> Iterator[None]:
    """
    Show a bar on stderr while this runs; it moves with the client's requests.

    How many there will be the first page says, which is asked for once more than the pull needs.
    """
    first = next(walk(client, endpoint, query_params=query_params, parallel=1))
    before = client.traffic
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TextColumn("pages"))
    with Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console or Console(stderr=True), transient=True
    ) as progress:
        task = progress.add_task(endpoint, total=first.last_page)
        over = Event()

        def follow() -> None:
            while not over.wait(EVERY):
                now = client.traffic
                done = now.requests - before.requests - (now.retries - before.retries)
                progress.update(task, completed=min(done, first.last_page or done))

        watcher = Thread(target=follow, name="gofundo-bar", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
