"""`airflow gofundo authorize`: a login in a browser, without a page of Airflow."""

from __future__ import annotations

import getpass
from argparse import Namespace
from contextlib import suppress

from airflow_provider_gofundo.cli.command import command, complain, hook_of, say
from airflow_provider_gofundo.exceptions import GofundoAuthError, GofundoConfigError
from airflow_provider_gofundo.oauth.authorization import AuthorizationRequest, code_of
from airflow_provider_gofundo.state.login import renewing_as

# How often an address may be pasted that is not the right one.
TRIES = 3


@command
def authorize(args: Namespace) -> None:
    """
    Print the address to open, take the one that the browser ends at, and store the login.

    What is pasted shows on the screen. Its code works once, within minutes, and only with what this process
    alone knows (PKCE).
    """
    hook = hook_of(args.conn_id)
    request = hook.authorization()
    if not hook.client.settings.share_login:
        raise GofundoConfigError(
            f"Connection '{args.conn_id}': Share login is off, so a login would end with this command; switch it on."
        )
    say(f"Open this address in a browser, log in to Gofundo and approve:\n\n{request.url}\n")
    say("The browser ends at an address that begins with your Redirect URI. A page need not appear there.")
    callback = _pasted(request)
    with renewing_as(f"{getpass.getuser()} on the command line"):
        hook.authorize(request, callback)
    token = hook.client.tokens.state()
    until = f", with a token until {token.expires_at:%Y-%m-%d %H:%M} UTC" if token and token.expires_at else ""
    say(f"Logged in{until}.")
    if token and token.refresh_expires_at:
        say(f"It can be refreshed until {token.refresh_expires_at:%Y-%m-%d %H:%M} UTC.")


def _pasted(request: AuthorizationRequest) -> str:
    """Ask for the address until it is one of this login."""
    # With readline a terminal takes lines longer than 1,024 characters.
    with suppress(ImportError):
        import readline  # noqa: F401
    for left in reversed(range(TRIES)):
        try:
            pasted = input("Paste that address here: ")
        except EOFError:
            break
        try:
            code_of(pasted, request)
        except GofundoAuthError as error:
            if "error=" in pasted or not left:
                raise
            complain(f"{str(error).removesuffix(' Begin again.')} Paste the one of this login.")
        else:
            return pasted
    raise GofundoAuthError("No address was pasted; begin again.")
