"""Request and response as plain values, and JSON as Laravel writes it."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

JSON = "application/json"
HTML = "text/html; charset=UTF-8"
NO_CACHE = ("Cache-Control", "no-cache, private")


@dataclass(frozen=True)
class Request:
    """One HTTP request, read to its end. Header names are lower-case."""

    method: str
    path: str
    query_string: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    address: str

    @cached_property
    def query(self) -> dict[str, str]:
        """The query parameters; of a name given twice the last one counts, as in PHP."""
        return dict(parse_qsl(self.query_string, keep_blank_values=True))

    @cached_property
    def form(self) -> dict[str, Any]:
        """The fields of the body, JSON or form; empty for anything else."""
        if "json" in self.headers.get("content-type", ""):
            try:
                fields = json.loads(self.body)
            except ValueError:
                return {}
            return fields if isinstance(fields, dict) else {}
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    @cached_property
    def expects_json(self) -> bool:
        """Laravel's expectsJson(): the first Accept entry is JSON, or it is an XHR that accepts anything."""
        first = _first_accepted(self.headers.get("accept", ""))
        if "/json" in first or "+json" in first:
            return True
        return self.headers.get("x-requested-with") == "XMLHttpRequest" and first in ("", "*/*", "*")

    @cached_property
    def basic(self) -> tuple[str, str] | None:
        """Id and secret of HTTP Basic, not form-decoded, or None."""
        scheme, _, value = self.headers.get("authorization", "").partition(" ")
        if scheme != "Basic":
            return None
        try:
            user, colon, password = b64decode(value, validate=True).decode().partition(":")
        except ValueError:
            return None
        return (user, password) if colon else None

    @property
    def base_url(self) -> str:
        """Scheme and host as the client addressed them."""
        return f"http://{self.headers.get('host', '127.0.0.1')}"


def _first_accepted(accept: str) -> str:
    """The media type a client likes best: by quality, then in the order given."""
    entries = []
    for entry in accept.split(","):
        media, *parameters = (part.strip() for part in entry.split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        try:
            entries.append((-float(quality), media.lower()))
        except ValueError:
            entries.append((-1.0, media.lower()))
    return min(entries, key=lambda entry: entry[0])[1]


@dataclass(frozen=True)
class Response:
    """One HTTP answer."""

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def with_headers(self, *headers: tuple[str, str]) -> Response:
        """The same answer with more headers."""
        return Response(self.status, self.body, (*self.headers, *headers))


def json_text(value: Any, *, pretty: bool = False) -> str:
    """JSON as PHP's json_encode() writes it: ASCII only, slashes escaped."""
    text = json.dumps(value, indent=4) if pretty else json.dumps(value, separators=(",", ":"))
    return text.replace("/", "\\/")


def json_response(value: Any, status: int = 200, *headers: tuple[str, str], pretty: bool = False) -> Response:
    """An answer as Laravel's JsonResponse: no-cache, application/json without a charset."""
    body = json_text(value, pretty=pretty).encode()
    return Response(status, body, (NO_CACHE, ("Content-Type", JSON), *headers))
