"""What 500 deferred sensors ask of the server: their triggers in one process, on one event loop, as triggerers do."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import threading
from datetime import datetime, timedelta, timezone
from typing import Any

from benchmarks import server
from benchmarks.targets import Target

SENSORS = 500

# Seconds between two looks of a sensor, and for how long they are watched.
INTERVAL, MEASURED = 20.0, 60.0
INTERVAL_QUICK, MEASURED_QUICK = 5.0, 15.0


def measure(*, quick: bool) -> list[Target]:
    """Run them for a while, print the table, and return the targets. No Airflow database is in it."""
    interval, measured = (INTERVAL_QUICK, MEASURED_QUICK) if quick else (INTERVAL, MEASURED)
    with tempfile.TemporaryDirectory(prefix="gofundo-bench-") as home, server.sandbox("--records", "40") as url:
        connection = {
            "conn_type": "gofundo", "host": url, "login": server.CLIENT_ID, "password": server.CLIENT_SECRET,
            "extra": {"share_login": False},
        }  # fmt: skip
        os.environ.update(AIRFLOW_HOME=home, AIRFLOW_CONN_GOFUNDO_DEFAULT=json.dumps(connection))
        ended, threads = asyncio.run(_run(interval, measured))
        seen = server.counters(url)
    logins = float(sum(seen["grants"].values()))
    looks = seen["requests"].get("GET /api/donations", 0) / measured * 60
    sockets = float(seen["connections_max"])
    wanted = SENSORS / interval * 60
    print(f"\nSensors; {SENSORS} deferred ones on one event loop for {measured:.0f} s, a look every {interval:.0f} s")
    print(f"  {'token requests':<30}{logins:>7.0f}")
    print(f"  {'requests a minute':<30}{looks:>7.0f}   (each once an interval: {wanted:.0f})")
    print(f"  {'connections, the most':<30}{sockets:>7.0f}")
    print(f"  {'threads, the most':<30}{threads:>7d}", flush=True)
    return [
        Target(about="500 sensors: token requests", value=logins, at_least=1.0, at_most=1.0),
        Target(about="500 sensors: ended too early", value=float(ended), at_least=0.0, at_most=0.0),
        Target(about="500 sensors: requests a minute", value=looks, at_most=wanted * 1.05),
    ]


async def _run(interval: float, measured: float) -> tuple[int, int]:
    """Return how many ended by themselves, and how many threads there were at most."""
    from airflow_provider_gofundo.triggers.gofundo import GofundoTrigger

    now = datetime.now(timezone.utc)

    async def wait(number: int) -> Any:
        # Workers defer them one after the other.
        began = now + timedelta(seconds=interval * number / SENSORS)
        trigger = GofundoTrigger(
            gofundo_conn_id="gofundo_default",
            condition={"endpoint": "api/donations", "min_records": 1_000},
            poke_interval=interval,
            began=began.isoformat(),
            deadline=(now + timedelta(hours=1)).isoformat(),
        )
        return [event async for event in trigger.run()]

    waiting = [asyncio.ensure_future(wait(number)) for number in range(SENSORS)]
    threads = 0
    for _ in range(int(measured * 10)):
        await asyncio.sleep(0.1)
        threads = max(threads, sum(thread.name.startswith("gofundo_") for thread in threading.enumerate()))
    ended = sum(task.done() for task in waiting)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return ended, threads
