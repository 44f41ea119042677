"""This package, from the client down: what a task of it does, without Airflow around it."""

from __future__ import annotations

import functools
from types import SimpleNamespace

from upath import UPath

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.dataset.pull import pull as pull_dataset
from airflow_provider_gofundo.dataset.recipe import Recipe
from airflow_provider_gofundo.oauth.grants import grant_for
from airflow_provider_gofundo.oauth.manager import TokenManager
from airflow_provider_gofundo.oauth.store import MemoryTokenStore
from airflow_provider_gofundo.settings import Settings
from benchmarks.peers.measure import Job, main
from benchmarks.server import CLIENT_ID, CLIENT_SECRET


@functools.cache
def login(url: str) -> tuple[Settings, TokenManager]:
    """One login for both pulls, as for all tasks of a connection."""
    connection = SimpleNamespace(
        conn_id="bench", host=url, port=None, schema=None, login=CLIENT_ID, password=CLIENT_SECRET, extra=None
    )
    settings = Settings.from_connection(connection)
    return settings, TokenManager(grant_for(settings), MemoryTokenStore())


def pull(job: Job) -> None:
    recipe = Recipe(
        endpoint=job.endpoint,
        query_params={"per_page": job.per_page},
        parallel=job.parallel,
        file_format=job.file_format,
        compression="none",
    )
    with GofundoClient(*login(job.url)) as client:
        pull_dataset(client, recipe, UPath(job.folder))


if __name__ == "__main__":
    main(pull)
