"""
Pulls a list into a folder again and again, until it is killed.

    python -m tests.dataset.puller URL FOLDER
"""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

from upath import UPath

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.oauth.grants import grant_for
from airflow_provider_gofundo.oauth.manager import TokenManager
from airflow_provider_gofundo.oauth.store import MemoryTokenStore
from tests.fixtures import pull, settings_of


def main() -> None:
    url, folder = sys.argv[1:]
    settings = settings_of(url)
    path = UPath(Path(folder))
    with GofundoClient(settings, TokenManager(grant_for(settings), MemoryTokenStore())) as client:
        client.tokens.token()
        print("ready", flush=True)
        for number in count(3):
            pull(client, "api/donations", path, query_params={"per_page": 13}, records_per_part=number % 9 + 2)


if __name__ == "__main__":
    main()
