"""Command: what all of them do alike. Errors are one sentence on stderr, logs stay out of the output."""

from __future__ import annotations

import io
import logging
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoError
from airflow_provider_gofundo.hooks.gofundo import GofundoHook
from airflow_provider_gofundo.state.connections import find_connection

# What a shell shows for a process that Ctrl-C has ended.
INTERRUPTED = 130

# By this variable Airflow 3 knows a process that may look into its database, as its own commands set it.
_PROCESS = "_AIRFLOW_PROCESS_CONTEXT"


def command(work: Callable[[Namespace], None]) -> Callable[[Namespace], None]:
    """Make a command of what it does: errors of ours end it with 1, Ctrl-C with 130."""

    @wraps(work)
    def run(args: Namespace) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # where a terminal knows no UTF-8
        level = logging.DEBUG if args.verbose else logging.WARNING
        # After a Ctrl-C this stands, unless the work had ended before.
        text, code = f"gofundo {work.__name__}: Stopped.", INTERRUPTED
        with suppress(KeyboardInterrupt), _as_server(), _log_on_stderr(level):
            try:
                work(args)
                sys.stdout.flush()
                text, code = "", 0
            except GofundoError as error:
                text, code = f"gofundo {work.__name__}: {error}", 1
            except BrokenPipeError:  # as `| head` does; the interpreter would complain of it once more
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                text, code = "", 1
        if text:
            complain(text)
        if code:
            raise SystemExit(code)

    return run


def say(text: str = "") -> None:
    """Print a line of output."""
    print(printable(text), flush=True)  # noqa: T201  # a command's output


def complain(text: str) -> None:
    """Print what is not output."""
    print(printable(text), file=sys.stderr, flush=True)  # noqa: T201  # a command's output


def hook_of(conn_id: str) -> GofundoHook:
    """Return the hook of a connection; GofundoConfigError when there is none, or it is not one of ours."""
    try:
        conn_type = find_connection(conn_id, BaseHook.get_connection).conn_type
    except Exception as error:  # noqa: BLE001  # what comes depends on Airflow's version and secrets backend
        reason = type(error).__name__
    else:
        if conn_type == GofundoHook.conn_type:
            return GofundoHook(conn_id)
        raise GofundoConfigError(f"Connection '{conn_id}' is of type {conn_type}; its type has to be gofundo.")
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    if variable in os.environ:
        raise GofundoConfigError(
            f"Connection '{conn_id}' cannot be read: {variable} holds no connection. It has to be JSON, with "
            "conn_type and Airflow's other fields in their types, or a URI whose parts are percent-encoded."
        )
    if reason == "AirflowNotFoundException":
        raise GofundoConfigError(
            f"There is no connection '{conn_id}'; `airflow connections list` shows those of Airflow's database, and "
            "others are in variables such as "
            f"{variable}."
        )
    raise GofundoConfigError(
        f"Connection '{conn_id}' cannot be read ({reason}). Is this Airflow's machine, with its AIRFLOW_HOME and "
        "database?"
    )


def printable(text: str) -> str:
    """Return text of the server without what a terminal would obey, such as escapes and changes of direction."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in text)


@contextmanager
def _as_server() -> Iterator[None]:
    before = os.environ.get(_PROCESS)
    os.environ[_PROCESS] = "server"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_PROCESS]
        else:
            os.environ[_PROCESS] = before


@contextmanager
def _log_on_stderr(level: int) -> Iterator[None]:
    """Send the log there, as plain lines, in place of Airflow's handlers, which may write to stdout."""
    ours, root = logging.getLogger("airflow_provider_gofundo"), logging.getLogger()
    to_screen = [handler for handler in root.handlers if getattr(handler, "stream", None) in (sys.stdout, sys.stderr)]
    plain = logging.StreamHandler()
    plain.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    plain.filters = [kept for handler in to_screen for kept in handler.filters]  # one of them masks secrets
    plain.addFilter(lambda line: line.levelno >= logging.WARNING or line.name.startswith(ours.name))
    before = ours.level
    root.handlers = [handler for handler in root.handlers if handler not in to_screen] + [plain]
    ours.setLevel(level)
    try:
        yield
    finally:
        ours.setLevel(before)
        root.removeHandler(plain)
        root.handlers += to_screen
