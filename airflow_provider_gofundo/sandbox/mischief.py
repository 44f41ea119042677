"""What a fault makes of an answer."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import format_datetime

from .faults import Fault
from .html import error_page, html_response, page, redirect
from .messages import JSON, NO_CACHE, Request, Response, json_response

MESSAGES = {
    401: "Unauthenticated.",
    429: "Too Many Attempts.",
    500: "Server Error",
    503: "Service Unavailable",
}
INSTEAD = ("status", "html", "login_redirect", "redirect", "wrong_type", "drop")
"""Kinds that answer themselves: the request is not handled at all."""


class Wire(enum.Enum):
    """How the answer goes over the connection."""

    WHOLE = "whole"
    TRUNCATED = "truncated"
    NOT_AT_ALL = "not at all"


@dataclass(frozen=True)
class Delivery:
    """An answer and how it is sent."""

    response: Response
    wire: Wire = Wire.WHOLE


def instead(fault: Fault, request: Request) -> Delivery:
    """The answer of a fault that takes the place of the real one."""
    options = fault.options
    if fault.kind == "drop":
        return Delivery(Response(0), Wire.NOT_AT_ALL)
    if fault.kind == "html":
        return Delivery(html_response(200, page("Gofundo", "<main><p>One moment, please.</p></main>")))
    if fault.kind == "login_redirect":
        return Delivery(redirect(f"{request.base_url}/login"))
    if fault.kind == "redirect":
        moved = redirect(str(options["url"]))
        return Delivery(replace(moved, status=int(options.get("status", 302))))
    if fault.kind == "wrong_type":
        return Delivery(json_response(options.get("value")))
    return Delivery(_status(fault, request))


def _status(fault: Fault, request: Request) -> Response:
    status, options = int(fault.options["status"]), fault.options
    message = str(options.get("message", MESSAGES.get(status, "")))
    headers: list[tuple[str, str]] = []
    retry_after = options.get("retry_after")
    if isinstance(retry_after, datetime):
        headers.append(("Retry-After", format_datetime(retry_after, usegmt=True)))
    elif retry_after is not None:
        headers.append(("Retry-After", str(retry_after)))
    body = options.get("body", "auto")
    if body == "json" or (body == "auto" and request.expects_json):
        return json_response({"message": message}, status, *headers)
    if body in ("auto", "html"):
        return error_page(status, message, *headers)
    return Response(status, str(body).encode(), (NO_CACHE, ("Content-Type", JSON), *headers))


def spoilt(fault: Fault, response: Response) -> Delivery:
    """The real answer, the work done, as it arrives after the fault."""
    if fault.kind == "lost_answer":
        return Delivery(response, Wire.NOT_AT_ALL)
    if fault.kind == "truncate":
        return Delivery(response, Wire.TRUNCATED)
    if fault.kind == "broken_json":
        return Delivery(replace(response, body=response.body[: len(response.body) // 2]))
    return Delivery(response)
