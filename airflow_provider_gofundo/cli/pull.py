"""`airflow gofundo pull`: what GofundoToObjectStorageOperator does, without a DAG."""

from __future__ import annotations

import logging
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow_provider_gofundo.cli.bar import bar
from airflow_provider_gofundo.cli.command import INTERRUPTED, command, complain, hook_of, say
from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoStopped
from airflow_provider_gofundo.transfers.gofundo_to_object_storage import GofundoToObjectStorageOperator

# Says every few seconds how far a pull is, for where no bar can be drawn.
_progress = logging.getLogger("airflow_provider_gofundo.dataset.progress")


@command
def pull(args: Namespace) -> None:
    """Pull a list with the operator itself, and print what was done. Stopped, it leaves nothing behind."""
    hook = hook_of(args.conn_id)
    operator = GofundoToObjectStorageOperator(
        task_id="pull",
        gofundo_conn_id=args.conn_id,
        endpoint=args.endpoint,
        path=_whole(args.path),
        query_params=dict(args.query_param or ()),
        file_format=args.file_format,
        compression=args.compression,
        records_per_part=args.records_per_part,
        parallel=args.parallel,
        record_key=args.record_key or None,
        exclude_fields=args.exclude_field or (),
        pseudonymize_fields=args.pseudonymize_field or (),
        unknown_fields=args.unknown_fields,
        on_drift=args.on_drift,
        storage_conn_id=args.storage_conn_id,
    )
    client = hook.client  # from here on there is something to stop
    try:
        with _stopping(hook.stop), _telling(client, args):
            summary: dict[str, Any] = operator.work(hook, {})
    except GofundoStopped:
        complain("gofundo pull: Stopped. The directory holds what it held before.")
        raise SystemExit(INTERRUPTED) from None
    except GofundoConfigError as error:  # it speaks to who writes a DAG
        text = str(error).replace('unknown_fields="ignore"', "--unknown-fields ignore")
        raise GofundoConfigError(text) from None
    files = f"{summary['parts']:,} file{'' if summary['parts'] == 1 else 's'}"
    say(
        f"{summary['records']:,} records on {summary['pages']:,} pages, {files} with "
        f"{summary['bytes']:,} bytes, {summary['seconds']:.1f} s."
    )
    if summary["complete"] is False:
        complain("Records may be missing: the list changed meanwhile. See drift in the manifest.")
    say(summary["manifest"])


def _whole(path: str) -> str:
    """A local path may be relative here, where it is known to what."""
    if "://" in path or not path.strip():
        return path
    try:
        return str(Path(path).expanduser().absolute())
    except RuntimeError:
        text = f"There is no home directory for {path}; write the path without ~."
    raise GofundoConfigError(text)


@contextmanager
def _telling(client: GofundoClient, args: Namespace) -> Iterator[None]:
    """Say how far it is: a bar on a terminal, lines elsewhere."""
    if sys.stderr.isatty() and not args.verbose:
        with bar(client, args.endpoint, dict(args.query_param or ())):
            yield
        return
    before = _progress.level
    _progress.setLevel(logging.INFO)
    try:
        yield
    finally:
        _progress.setLevel(before)


@contextmanager
def _stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl-C, or SIGTERM, stop the pull in order; the second one interrupts it."""

    def once(number: int, _: object) -> None:
        signal.signal(number, before[signal.Signals(number)])
        stop()

    before = {number: signal.signal(number, once) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
