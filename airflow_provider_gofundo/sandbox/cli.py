"""The command gofundo-sandbox: a sandbox that runs until it is interrupted."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from .clients import own_client
from .sandbox import Sandbox
from .server import HOST
from .settings import CONSENTS, LEAGUES, Settings
from .shapes import SHAPES

CHOICES: dict[str, tuple[Any, ...]] = {"league": LEAGUES, "consent": CONSENTS}


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a number of records, not {text}")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The command line; every setting is a flag."""
    command = argparse.ArgumentParser(prog="gofundo-sandbox", description="A local stand-in for a Gofundo instance.")
    command.add_argument("--host", default=HOST, help="loopback only; anything else is refused (%(default)s)")
    command.add_argument("--port", type=int, default=8700, help="0 takes a free one (%(default)s)")
    command.add_argument("--ready-file", type=Path, help="write url and pid here, as JSON, once it listens")
    command.add_argument("--records", type=_count, default=1_000, help="how many donations (%(default)s)")
    command.add_argument("--donors", type=_count, default=250, help="how many donors (%(default)s)")
    command.add_argument("--actions", type=_count, default=40, help="how many actions (%(default)s)")
    command.add_argument(
        "--client", metavar="ID:SECRET", action="append", default=[], help="an API client of your own"
    )
    command.add_argument(
        "--redirect-uri",
        metavar="URI",
        action="append",
        default=[],
        help="where your own clients may redirect to",
    )
    switches = command.add_argument_group("settings")
    for setting in fields(Settings):
        flag, about = f"--{setting.name.replace('_', '-')}", f"{setting.metadata['about']} (%(default)s)"
        kind = str(setting.type)
        if kind == "bool":
            switches.add_argument(flag, action="store_true", help=setting.metadata["about"])
            continue
        convert: type = float if kind.startswith("float") else int if kind.startswith("int") else str
        switches.add_argument(
            flag, type=convert, default=setting.default, choices=CHOICES.get(setting.name), help=about
        )
    return command


def banner(sandbox: Sandbox) -> str:
    """What a user needs to know, in one block."""
    lines = [
        "",
        f"  Gofundo sandbox: {sandbox.url}",
        "",
        "  A local stand-in, not Gofundo. All data is fictitious. The names of its lists and fields are its own:",
        "  Gofundo's documentation names none, so those of your instance will differ.",
        "",
        f"  {'Client ID':<12}{'secret':<22}grants",
    ]
    for client in sandbox.clients.values():
        grants = "revoked" if client.revoked else ", ".join(client.grants)
        lines.append(f"  {client.id:<12}{client.secret or '(public)':<22}{grants}")
    redirect_uris = {uri: None for client in sandbox.clients.values() for uri in client.redirect_uris}
    user = sandbox.user
    lines += [
        "",
        f"  User          {user.email}, password {user.password}",
        f"  Redirects to  {', '.join(redirect_uris)} (any port on loopback)",
        f"  OAuth         {sandbox.url}/oauth/authorize, {sandbox.url}/oauth/token",
        "",
        "  Lists         (a page as an API resource; more by page, per_page)",
        *(f"    {sandbox.url}/api/{name:<14}{len(items):>9,} records" for name, items in sandbox.records.items()),
        "  Every list in every shape of a Laravel API: /api/{shape}/{list}, with shape one of",
        f"    {', '.join(SHAPES[:5])},",
        f"    {', '.join(SHAPES[5:])}",
        "  Filters: any field, such as status=paid; updated_since=2024-01-31T00:00:00Z",
        "  Order: sort=id, updated_at, -id or -updated_at",
        "",
        f"  Control       {sandbox.url}/_sandbox/  (counters, settings, faults, revoke, records, requests)",
        "  Ctrl+C ends it.",
        "",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sandbox until SIGINT or SIGTERM."""
    command = parser()
    options = vars(command.parse_args(argv))
    if options["host"] not in (HOST, "localhost"):
        command.error(f"the sandbox listens on {HOST} only: its clients and secrets are public knowledge")
    try:
        sandbox = Sandbox(
            records=options["records"],
            donors=options["donors"],
            actions=options["actions"],
            port=options["port"],
            clients=[own_client(text, tuple(options["redirect_uri"])) for text in options["client"]],
            **{setting.name: options[setting.name] for setting in fields(Settings)},
        )
    except ValueError as problem:
        command.error(str(problem))
    if sandbox.settings.access_log:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    try:
        sandbox.start()
    except OSError as problem:
        command.exit(1, f"gofundo-sandbox: port {options['port']}: {problem.strerror}\n")
    with sandbox:
        print(banner(sandbox), flush=True)
        if options["ready_file"]:
            announce(options["ready_file"], sandbox.url)
        try:
            while not over.wait(3600):  # without a timeout, a signal does not wake it on every platform
                continue
        finally:
            if options["ready_file"]:
                options["ready_file"].unlink(missing_ok=True)
    return 0


def announce(path: Path, url: str) -> None:
    """Write the ready file in one step, so that nobody reads half of it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps({"url": url, "pid": os.getpid()}), encoding="utf-8")
    draft.replace(path)
