"""Airflow's HttpOperator with pagination_function, which hands all answers to response_filter at the end."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlsplit

from airflow.providers.http.operators.http import HttpOperator
from requests import Response

from benchmarks.peers.measure import Job, main


def pull(job: Job) -> None:
    where = urlsplit(job.url)
    os.environ["AIRFLOW_CONN_BENCH"] = json.dumps(
        {"conn_type": "http", "schema": where.scheme, "host": where.hostname, "port": where.port}
    )

    def next_page(response: Response) -> dict[str, Any] | None:
        body = response.json()
        if body["links"]["next"]:
            return {"data": {"per_page": job.per_page, "page": body["meta"]["current_page"] + 1}}
        return None

    def write(responses: list[Response]) -> int:
        count = 0
        with (job.folder / "records.ndjson").open("w") as lines:
            for response in responses:
                for record in response.json()["data"]:
                    lines.write(json.dumps(record) + "\n")
                    count += 1
        return count

    operator = HttpOperator(
        task_id="pull",
        http_conn_id="bench",
        method="GET",
        endpoint=job.endpoint,
        data={"per_page": job.per_page, "page": 1},
        headers={"Authorization": f"Bearer {job.token}", "Accept": "application/json"},
        pagination_function=next_page,
        response_filter=write,
    )
    operator.execute(context={})


if __name__ == "__main__":
    main(pull)
