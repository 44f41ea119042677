"""
The main job, from nothing: a sandbox, a throw-away Airflow, a DAG run that pulls a list, and what landed.

Everything runs on this machine and ends with this script. The dataset stays in build/demo, to look at.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LAKE = ROOT / "build" / "demo"
DAG = "gofundo_daily_pull"


def main() -> None:
    """Run the demo; exits with an error when a step fails."""
    shutil.rmtree(LAKE, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="gofundo-demo-") as folder, sandbox(Path(folder)) as url:
        airflow = Airflow(Path(folder), url)
        title("Airflow prepares its database")
        airflow.run("db", "migrate", show=())
        title(f"Airflow runs the DAG {DAG} (example_dags/{DAG}.py)")
        airflow.run("dags", "test", DAG, show=("[airflow_provider_gofundo.", "DagRun Finished"))
    show_dataset(LAKE / "donations")


def title(text: str) -> None:
    """Say what comes next."""
    print(f"\n== {text}", flush=True)


@contextlib.contextmanager
def sandbox(folder: Path) -> Iterator[str]:
    """Run a sandbox with 12,345 donations for as long as the demo needs it; yields its URL."""
    title("The sandbox starts: a stand-in for a Gofundo server, on this machine")
    ready = folder / "sandbox.json"
    command = [sys.executable, "-m", "airflow_provider_gofundo.sandbox", "--port", "0", "--records", "12345"]
    process = subprocess.Popen([*command, "--ready-file", str(ready)])
    try:
        deadline = time.monotonic() + 30
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit("The sandbox did not start.")
            time.sleep(0.05)
        yield json.loads(ready.read_text())["url"]
    finally:
        process.terminate()
        process.wait()


class Airflow:
    """An Airflow of its own, in a folder that goes away, with one connection: the one to the sandbox."""

    def __init__(self, folder: Path, url: str) -> None:
        connection = {"conn_type": "gofundo", "host": url, "login": "1", "password": "secret-machine-1"}
        self._environment = {
            **os.environ,
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_GOFUNDO_DEFAULT": json.dumps(connection),
            "GOFUNDO_LAKE": f"file://{LAKE}",
        }

    def run(self, *arguments: str, show: tuple[str, ...]) -> None:
        """Run `airflow …`; show the lines that hold one of `show`, or all of them if it fails."""
        began = time.monotonic()
        command = [str(Path(sys.executable).with_name("airflow")), *arguments]
        done = subprocess.run(
            command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode:
            sys.exit(done.stdout)
        for line in done.stdout.splitlines():
            if any(text in line for text in show):
                print(f"   {line}")
        print(f"   airflow {' '.join(arguments)}: {time.monotonic() - began:.1f} s", flush=True)


def show_dataset(folder: Path) -> None:
    """Show the files, the manifest and the first three records."""
    title(f"What landed in {folder.relative_to(ROOT)}")
    for file in sorted(folder.iterdir()):
        print(f"   {file.stat().st_size:>9,} bytes  {file.name}")
    manifest: dict[str, Any] = json.loads((folder / "_manifest.json").read_text())
    title("_manifest.json, which was written last and makes it complete")
    print(json.dumps(manifest, indent=2))
    title("The first three records")
    with gzip.open(folder / manifest["parts"][0]["name"], "rt") as lines:
        for _, line in zip(range(3), lines, strict=False):
            print(line, end="")
    print(f"\nComplete: {manifest['records']:,} fictitious records in {manifest['pages']} pages.")
    print("Next: docs/tutorial.md, ten minutes from nothing to a nightly pull.")


if __name__ == "__main__":
    main()
