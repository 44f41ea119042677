"""The practical limit: aiohttp and msgspec, as many pages at once as we have, in order, no checks, no retries."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice

import aiohttp
import msgspec

from benchmarks.peers.measure import Job, main


class Meta(msgspec.Struct):
    last_page: int


class Page(msgspec.Struct):
    data: list[msgspec.Raw]
    meta: Meta


decoder = msgspec.json.Decoder(Page)


async def pull_all(job: Job) -> None:
    headers = {"Authorization": f"Bearer {job.token}", "Accept": "application/json"}
    connector = aiohttp.TCPConnector(limit=job.parallel)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def fetch(number: int) -> Page:
            query = {"per_page": job.per_page, "page": number}
            async with session.get(job.address, params=query) as response:
                response.raise_for_status()
                return decoder.decode(await response.read())

        with (job.folder / "records.ndjson").open("wb") as lines:
            page = await fetch(1)
            numbers = iter(range(2, page.meta.last_page + 1))
            # Twice as many as may be under way, so that a slow page at the head holds nobody up.
            ahead = deque(asyncio.create_task(fetch(number)) for number in islice(numbers, 2 * job.parallel))
            while True:
                lines.write(b"\n".join(page.data) + b"\n")
                if not ahead:
                    break
                page = await ahead.popleft()
                ahead.extend(asyncio.create_task(fetch(number)) for number in islice(numbers, 1))


def pull(job: Job) -> None:
    asyncio.run(pull_all(job))


if __name__ == "__main__":
    main(pull)
