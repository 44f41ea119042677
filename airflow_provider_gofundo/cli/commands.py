"""Commands: their names and arguments. Every `airflow` call imports this; their work is imported when it is done."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable

from airflow.cli.cli_config import ARG_OUTPUT, ARG_VERBOSE, ActionCommand, Arg, GroupCommand, lazy_load_command

argument: Callable[..., Arg] = Arg  # which has no types

HELP = "Gofundo: check, authorize, look and pull"


def _from(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or len(text) > 9 or int(text) < least:
            raise ArgumentTypeError(f"{text!r} is no whole number from {least} up")
        return int(text)

    return number


def _pair(text: str) -> tuple[str, str]:
    name, is_pair, value = text.partition("=")
    if not is_pair or not name:
        raise ArgumentTypeError("write it as name=value")
    return name, value


CONN = argument(("conn_id",), help="The id of a gofundo connection", metavar="CONN")
ANY_CONN = argument(
    ("conn_id",), help="The id of a gofundo connection; all of them without", metavar="CONN", nargs="?"
)
ENDPOINT = argument(("endpoint",), help="A list: a path below the connection's Host, such as api/donations")
QUERY_PARAM = argument(
    ("-q", "--query-param"),
    help="A parameter of the list, such as status=paid; may be given several times",
    metavar="NAME=VALUE",
    type=_pair,
    action="append",
    default=None,
)

PEEK = (
    argument(("-n", "--records"), help="How many records to show (default: 3)", type=_from(0), default=3),
    argument(("--no-values",), help="Show no record: only names and types of fields", action="store_true"),
)

PULL = (
    argument(("path",), help="A directory, such as s3://lake/donations, or a local one"),
    QUERY_PARAM,
    argument(
        ("--file-format",),
        help="ndjson or parquet (default: ndjson)",
        choices=("ndjson", "parquet"),
        default="ndjson",
    ),
    argument(
        ("--compression",),
        help="gzip or none; for Parquet also zstd or snappy (default: gzip)",
        choices=("gzip", "zstd", "snappy", "none"),
        default="gzip",
    ),
    argument(("--parallel",), help="Requests under way at the same time (default: 4)", type=_from(1), default=4),
    argument(
        ("--record-key",),
        help="The field that tells records apart, empty where there is none (default: id)",
        default="id",
    ),
    argument(
        ("--exclude-field",),
        help="A field to leave out, such as donor.email; may be given several times",
        metavar="FIELD",
        action="append",
        default=None,
    ),
    argument(
        ("--pseudonymize-field",),
        help="A field to replace by a pseudonym; may be given several times",
        metavar="FIELD",
        action="append",
        default=None,
    ),
    argument(
        ("--unknown-fields",),
        help="What a field is that no record has: error or ignore (default: error)",
        choices=("error", "ignore"),
        default="error",
    ),
    argument(("--records-per-part",), help="Records in a file (default: 100000)", type=_from(1), default=100_000),
    argument(
        ("--on-drift",),
        help="What to do where the list changes meanwhile: repull, warn or fail (default: repull)",
        choices=("repull", "warn", "fail"),
        default="repull",
    ),
    argument(("--storage-conn-id",), help="The storage's connection, where the path does not name it", default=None),
)

COMMANDS = (
    ActionCommand(
        name="check",
        help="Check a connection: settings, DNS, TLS, login, list",
        description="Say step by step what works, and of the first thing that does not, why. Uses up no login.",
        func=lazy_load_command("airflow_provider_gofundo.cli.check.check"),
        args=(CONN, ARG_VERBOSE),
    ),
    ActionCommand(
        name="authorize",
        help="Log in with a browser, for the authorization_code grant",
        description="Print the address to open, ask for the one that the browser ends at, and store the login.",
        func=lazy_load_command("airflow_provider_gofundo.cli.authorize.authorize"),
        args=(CONN, ARG_VERBOSE),
    ),
    ActionCommand(
        name="tokens",
        help="Show how long the stored logins are good for",
        description="Show the state of the stored logins, never a token.",
        func=lazy_load_command("airflow_provider_gofundo.cli.tokens.tokens"),
        args=(ANY_CONN, ARG_OUTPUT, ARG_VERBOSE),
    ),
    ActionCommand(
        name="peek",
        help="Look at a list: its shape, fields and first records, and what to put in a DAG",
        func=lazy_load_command("airflow_provider_gofundo.cli.peek.peek"),
        args=(CONN, ENDPOINT, QUERY_PARAM, *PEEK, ARG_VERBOSE),
    ),
    ActionCommand(
        name="pull",
        help="Pull a list into files, as GofundoToObjectStorageOperator does",
        func=lazy_load_command("airflow_provider_gofundo.cli.pull.pull"),
        args=(CONN, ENDPOINT, *PULL, ARG_VERBOSE),
    ),
)


def get_commands() -> list[GroupCommand]:
    """Return what Airflow adds to its own commands."""
    return [GroupCommand(name="gofundo", help=HELP, subcommands=COMMANDS)]
