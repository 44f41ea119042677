"""Build the wheel, install it into an empty environment, and see that Airflow lists the provider there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Fail loudly where a step fails."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        dist = home / "dist"
        run(sys.executable, "-m", "build", "--outdir", str(dist), str(ROOT))
        (wheel,) = dist.glob("*.whl")
        venv.create(home / "venv", with_pip=True)
        python = home / "venv" / "bin" / "python"
        run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel))
        environment = {**os.environ, "AIRFLOW_HOME": str(home / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        airflow = str(home / "venv" / "bin" / "airflow")
        expect("airflow-provider-gofundo", run(airflow, "providers", "list", "-o", "plain", env=environment))
        expect("GofundoHook", run(airflow, "providers", "hooks", "-o", "plain", env=environment))
    print(f"{wheel.name}: installs by itself, and Airflow lists provider and hook.")


def run(*command: str, env: dict[str, str] | None = None) -> str:
    """Run a command, show what it said if it failed, and return its output."""
    done = subprocess.run(command, env=env, cwd=tempfile.gettempdir(), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def expect(name: str, output: str) -> None:
    """Print the line that shows it, or fail."""
    lines = [line for line in output.splitlines() if name in line]
    if not lines:
        sys.exit(f"{name} is not in:\n{output}")
    print(lines[0].strip())


if __name__ == "__main__":
    main()
