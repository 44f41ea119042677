"""What importing the operator costs above `import airflow.sdk`, which a DAG file pays anyhow; in fresh processes."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys

from benchmarks.contenders import ENVIRONMENTS, ROOT
from benchmarks.targets import Target

OPERATOR = "airflow_provider_gofundo.transfers.gofundo_to_object_storage"

# Seconds.
ALLOWED = 0.3

CODE = f"""
import json, time
began = time.perf_counter()
import airflow.sdk
before = time.perf_counter()
import {OPERATOR}
print(json.dumps([before - began, time.perf_counter() - before]))
"""


def measure(rounds: int) -> list[Target]:
    """Import it so many times, print the table, and return the target."""
    variables = {**os.environ, "AIRFLOW_HOME": str(ENVIRONMENTS / "home")}
    times: list[tuple[float, float]] = []
    for number in range(rounds + 1):
        done = subprocess.run(
            [sys.executable, "-c", CODE], cwd=ROOT, env=variables, stdout=subprocess.PIPE, check=True
        )
        airflow, ours = json.loads(done.stdout.splitlines()[-1])
        if number:  # the first one may have had to compile
            times.append((airflow, ours))
    above = statistics.median(ours for _, ours in times)
    print(f"\nImports; median of {rounds} fresh processes")
    print(f"  {'airflow.sdk':<30}{statistics.median(airflow for airflow, _ in times):>7.2f} s")
    print(f"  {'the operator, above that':<30}{above:>7.2f} s", flush=True)
    return [Target(about="seconds to import the operator above airflow.sdk", value=above, at_most=ALLOWED)]
