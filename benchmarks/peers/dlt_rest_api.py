"""dlt's rest_api source into its filesystem destination: JSON lines, not compressed."""

from __future__ import annotations

import os

import dlt
from dlt.sources.helpers.rest_client.paginators import PageNumberPaginator
from dlt.sources.rest_api import rest_api_source

from benchmarks.peers.measure import Job, main

# Lines, not compressed, as the others write; no report of its use; and no bars on the terminal.
os.environ["NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION"] = "true"
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"


def pull(job: Job) -> None:
    source = rest_api_source(
        {
            "client": {
                "base_url": job.url,
                "auth": {"type": "bearer", "token": job.token},
                # Not by the server's links: those drop per_page.
                "paginator": PageNumberPaginator(base_page=1, page_param="page", total_path="meta.last_page"),
            },
            "resources": [
                {
                    "name": job.name,
                    "endpoint": {"path": job.endpoint, "params": {"per_page": job.per_page}, "data_selector": "data"},
                    # What is nested stays in its record, as with the others.
                    "max_table_nesting": 0,
                }
            ],
        }
    )
    pipeline = dlt.pipeline(
        pipeline_name=f"bench_{job.name}",
        pipelines_dir=str(job.folder / "pipelines"),
        destination=dlt.destinations.filesystem(bucket_url=(job.folder / "lake").as_uri()),
        dataset_name="lake",
    )
    pipeline.run(source, loader_file_format="jsonl")


if __name__ == "__main__":
    main(pull)
