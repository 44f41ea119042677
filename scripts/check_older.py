"""
Install the wheel into one environment for each Airflow that it is for, and run `older_airflow.py` in all of them.

Two at a time. Where an Airflow does not work with what has come out since, its constraint files aside, the few pins
that it needs stand with it.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from check_wheel import ROOT, run

VERSIONS = {
    # The lower bounds of pyproject.toml. With universal-pathlib 0.3 this Airflow knows no file:// path.
    "2.11.0": (
        "apache-airflow-providers-common-compat==1.12.0",
        "msgspec==0.19.0",
        "oauthlib==3.2.0",
        "requests==2.32.2",
        "requests-oauthlib==2.0.0",
        "tenacity==8.3.0",
        "universal-pathlib<0.3",
        "urllib3==2.2.0",
        "uvicorn==0.36.0",
    ),
    "2.11.*": (),
    # The form has no fields of a provider there without Flask-AppBuilder.
    "3.0.*": ("apache-airflow-providers-fab==2.4.*", "fastapi<0.118", "universal-pathlib<0.3"),
    "3.1.*": (),
    "3.2.*": ("cadwyn<7", "fastapi<0.137", "pydantic<2.14", "starlette<1.3", "svcs<26"),
    "3.3.*": (),
}

# These Airflows are for Python up to 3.12.
UP_TO_3_12 = ("2.11.0", "2.11.*", "3.0.*")


def main() -> None:
    """Fail loudly where a step fails."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, str(ROOT))
        (wheel,) = Path(folder).glob("*.whl")
        versions = [version for version in VERSIONS if sys.version_info < (3, 13) or version not in UP_TO_3_12]
        for said in pool.map(partial(check, wheel), versions):
            print(said, flush=True)
    print(f"{wheel.name}: works on Airflow {', '.join(versions)}.")


def check(wheel: Path, version: str) -> str:
    """Return what is found of the wheel in an Airflow of that version."""
    began = time.monotonic()
    home = wheel.with_name(version.rstrip(".*"))
    venv.create(home / "venv", with_pip=True)
    python = str(home / "venv" / "bin" / "python")
    wanted = (f"{wheel}[sandbox]", f"apache-airflow=={version}", *VERSIONS[version])
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted)
    installed = time.monotonic()
    (home / "airflow" / "dags").mkdir(parents=True)
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__API_AUTH__JWT_ISSUER": "older",  # which Airflow 3.0 with a newer PyJWT cannot be without
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "airflow" / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "GOFUNDO_LAKE": (home / "airflow" / "lake").as_uri(),
    }
    found = run(python, str(ROOT / "scripts" / "older_airflow.py"), env=environment)
    lines = [f"   {line}" for line in found.splitlines() if line.startswith("ok ")]
    seconds = f"installed in {installed - began:.0f} s, checked in {time.monotonic() - installed:.0f} s"
    return "\n".join([f"Airflow {version}: {seconds}", *lines])


if __name__ == "__main__":
    main()
