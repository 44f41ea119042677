"""`python -m airflow_provider_gofundo`: the commands of `airflow gofundo`, where Airflow is older than 3.2."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence

from airflow_provider_gofundo.cli.commands import COMMANDS, HELP


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; `argv` are its name and arguments, those of this process unless told otherwise."""
    parser = ArgumentParser(prog="python -m airflow_provider_gofundo", description=f"{HELP}.")
    names = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        own = names.add_parser(command.name, help=command.help, description=command.description or f"{command.help}.")
        for argument in command.args:
            argument.add_to_parser(own)
        own.set_defaults(func=command.func)
    args = parser.parse_args(argv)
    args.func(args)


if __name__ == "__main__":
    main()
