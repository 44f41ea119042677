"""Stats: what a pull did, for Airflow's counters."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from airflow_provider_gofundo.dataset.progress import Count

log = logging.getLogger(__name__)

# What the engine calls it, and Airflow's counter.
COUNTERS = {
    "records": "gofundo.records",
    "requests": "gofundo.requests",
    "retries": "gofundo.retries",
    "waited": "gofundo.waited_seconds",
}


def count_in_stats(tags: Mapping[str, str]) -> Count:
    """Return what adds to Airflow's counters, with these tags where its backend knows tags. It never fails."""
    rest = dict.fromkeys(COUNTERS, 0.0)

    def count(added: Mapping[str, float]) -> None:
        try:
            from airflow.providers.common.compat.sdk import Stats

            for name, counter in COUNTERS.items():
                # Counters take whole numbers; what is left of a second goes with the next.
                rest[name] += added.get(name, 0)
                whole = int(rest[name])
                rest[name] -= whole
                if whole > 0:
                    Stats.incr(counter, whole, tags=dict(tags))
        except Exception as error:  # noqa: BLE001  # no counter is worth a pull
            log.debug("Airflow's stats cannot be reached: %s", type(error).__name__)

    return count
