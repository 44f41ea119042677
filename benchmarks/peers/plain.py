"""The plain loop: what everybody writes first. requests, one page after the other, one record a line."""

from __future__ import annotations

import json

import requests

from benchmarks.peers.measure import Job, main


def pull(job: Job) -> None:
    headers = {"Authorization": f"Bearer {job.token}", "Accept": "application/json"}
    with requests.Session() as session, (job.folder / "records.ndjson").open("w") as lines:
        session.headers.update(headers)
        page = 1
        while page:
            response = session.get(job.address, params={"per_page": job.per_page, "page": page}, timeout=30)
            response.raise_for_status()
            body = response.json()
            for record in body["data"]:
                lines.write(json.dumps(record) + "\n")
            page = page + 1 if body["links"]["next"] else 0


if __name__ == "__main__":
    main(pull)
