"""What requests can do at best: a session in each of as many threads as we have, msgspec, no checks, no retries."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import msgspec
import requests

from benchmarks.peers.measure import Job, main


class Meta(msgspec.Struct):
    last_page: int


class Page(msgspec.Struct):
    data: list[msgspec.Raw]
    meta: Meta


decoder = msgspec.json.Decoder(Page)


def pull(job: Job) -> None:
    own = threading.local()

    def fetch(number: int) -> Page:
        if not hasattr(own, "session"):
            own.session = requests.Session()
            own.session.headers.update({"Authorization": f"Bearer {job.token}", "Accept": "application/json"})
        query = {"per_page": job.per_page, "page": number}
        response = own.session.get(job.address, params=query, timeout=30)
        response.raise_for_status()
        return decoder.decode(response.content)

    with ThreadPoolExecutor(job.parallel) as threads, (job.folder / "records.ndjson").open("wb") as lines:
        page = threads.submit(fetch, 1).result()
        numbers = iter(range(2, page.meta.last_page + 1))
        # Twice as many as may be under way, so that a slow page at the head holds nobody up.
        ahead = deque(threads.submit(fetch, number) for number in islice(numbers, 2 * job.parallel))
        while True:
            lines.write(b"\n".join(page.data) + b"\n")
            if not ahead:
                break
            page = ahead.popleft().result()
            ahead.extend(threads.submit(fetch, number) for number in islice(numbers, 1))


if __name__ == "__main__":
    main(pull)
