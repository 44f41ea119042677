"""The HTML a Laravel server answers with when it was not asked for JSON, and the two pages of the login."""

from __future__ import annotations

from html import escape
from http import HTTPStatus

from .messages import HTML, NO_CACHE, Response

STYLE = """
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 3rem auto; padding: 0 1rem; color: #1a202c }
  label { display: block; margin-top: 1rem }
  input { font: inherit; padding: .4rem; width: 100%; box-sizing: border-box }
  button { font: inherit; padding: .5rem 1.2rem; margin: 1rem .5rem 0 0 }
  .note { color: #4a5568 } .error { color: #9b2c2c }
"""

SANDBOX = '<p class="note">This is a local stand-in for a Gofundo instance. All data is fictitious.</p>'


def page(title: str, body: str) -> bytes:
    """A whole HTML page."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    ).encode()


def html_response(status: int, body: bytes, *headers: tuple[str, str]) -> Response:
    """An answer in HTML."""
    return Response(status, body, (NO_CACHE, ("Content-Type", HTML), *headers))


def error_page(status: int, message: str, *headers: tuple[str, str]) -> Response:
    """Laravel's error page: the status's own phrase, which only a 403 replaces by its message."""
    phrase = "Server Error" if status == 500 else HTTPStatus(status).phrase
    text = f"<main><p>{status}</p>\n<p>{escape((status == 403 and message) or phrase)}</p></main>"
    return html_response(status, page(phrase, text), *headers)


def redirect(location: str, *headers: tuple[str, str]) -> Response:
    """Symfony's redirect: 302 with a small page that says where to (d01_html)."""
    where = escape(location)
    body = (
        '<!DOCTYPE html>\n<html>\n    <head>\n        <meta charset="UTF-8" />\n'
        f'        <meta http-equiv="refresh" content="0;url=\'{where}\'" />\n\n'
        f"        <title>Redirecting to {where}</title>\n    </head>\n    <body>\n"
        f'        Redirecting to <a href="{where}">{where}</a>.\n    </body>\n</html>'
    )
    content_type = ("Content-Type", "text/html; charset=utf-8")
    return Response(302, body.encode(), (NO_CACHE, ("Location", location), content_type, *headers))


def login_page(form_token: str, *, email: str, password: str, error: str = "") -> bytes:
    """The login form, with the fictitious user's credentials told beside it."""
    problem = f'<p class="error" role="alert">{escape(error)}</p>' if error else ""
    return page(
        "Log in",
        f"""<main>
<h1>Log in</h1>
{SANDBOX}
{problem}
<form method="post" action="/login">
<input type="hidden" name="_token" value="{escape(form_token)}">
<label for="email">Email address</label>
<input id="email" name="email" type="email" autocomplete="username" required value="{escape(email)}">
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required
 aria-describedby="hint">
<p id="hint" class="note">The only user has the password <code>{escape(password)}</code>.</p>
<button type="submit">Log in</button>
</form>
</main>""",
    )


def consent_page(form_token: str, *, client: str, user: str, scopes: tuple[str, ...]) -> bytes:
    """The consent screen: two forms, as Passport has them."""
    asked = "".join(f"<li>{escape(scope)}</li>" for scope in scopes)
    wish = f"<p>It asks for:</p>\n<ul>{asked}</ul>" if scopes else ""
    hidden = f'<input type="hidden" name="auth_token" value="{escape(form_token)}">'
    return page(
        "Authorization Request",
        f"""<main>
<h1>Authorization Request</h1>
{SANDBOX}
<p><strong>{escape(client)}</strong> asks for access to the account of {escape(user)}.</p>
{wish}
<form method="post" action="/oauth/authorize">
{hidden}
<button type="submit">Approve</button>
</form>
<form method="post" action="/oauth/authorize">
<input type="hidden" name="_method" value="DELETE">
{hidden}
<button type="submit">Deny</button>
</form>
</main>""",
    )
