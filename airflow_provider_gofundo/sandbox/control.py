"""The control endpoint /_sandbox/: what a test in another process needs of the Python API, as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from .messages import Request, Response, json_response
from .state import State

LOOPBACK = ("127.0.0.1", "localhost", "::1")
Action = Callable[[dict[str, Any]], Any]


class Control:
    """Answers on loopback only, and takes JSON only, so that no web page can reach it by a form."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._actions: dict[str, dict[str, Action]] = {
            "": {"GET": self._overview},
            "/counters": {"GET": lambda _: state.counters.as_dict(), "DELETE": self._clear_counters},
            "/settings": {"GET": lambda _: state.settings.as_dict(), "PATCH": self._change_settings},
            "/faults": {
                "GET": lambda _: self._faults(),
                "POST": self._add_fault,
                "DELETE": self._clear_faults,
            },
            "/requests": {"GET": lambda _: self._requests()},
            "/revoke": {"POST": lambda _: {"revoked": state.tokens.revoke_all()}},
            "/records": {"GET": lambda _: self._counts(), "POST": self._change_records},
        }

    def answer(self, request: Request) -> Response:
        """Do what is asked; 400 says what was wrong with it."""
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname
        if host not in LOOPBACK:
            return json_response({"message": "The control endpoint answers on loopback only."}, 403)
        actions = self._actions.get(request.path.removeprefix("/_sandbox").rstrip("/"))
        if actions is None:
            return json_response({"message": "No such control."}, 404)
        action = actions.get(request.method)
        if action is None:
            return json_response({"message": f"There is {', '.join(actions)}."}, 405, ("Allow", ", ".join(actions)))
        body: Any = {}
        try:
            if request.body:
                if "json" not in request.headers.get("content-type", ""):
                    return json_response({"message": "The control endpoint takes JSON."}, 415)
                body = json.loads(request.body)
            if not isinstance(body, dict):
                return json_response({"message": "The body is an object."}, 400)
            return json_response(action(body))
        except (ValueError, TypeError, KeyError) as problem:
            return json_response({"message": f"{problem}"}, 400)

    def _overview(self, _body: dict[str, Any]) -> dict[str, Any]:
        controls = {f"/_sandbox{path}": list(actions) for path, actions in self._actions.items()}
        return {"sandbox": "a local stand-in for a Gofundo instance", "controls": controls}

    def _clear_counters(self, _body: dict[str, Any]) -> dict[str, Any]:
        self._state.counters.clear()
        return {}

    def _change_settings(self, body: dict[str, Any]) -> dict[str, Any]:
        self._state.settings.update(body)
        return self._state.settings.as_dict()

    def _faults(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self._state.faults.waiting]

    def _add_fault(self, body: dict[str, Any]) -> dict[str, Any]:
        return asdict(self._state.faults.add(**body))

    def _clear_faults(self, _body: dict[str, Any]) -> dict[str, Any]:
        self._state.faults.clear()
        return {}

    def _requests(self) -> list[dict[str, Any]]:
        """Without header values and bodies: those hold secrets."""
        return [
            {
                "method": seen.method,
                "path": seen.path,
                "query": seen.query,
                "status": seen.status,
                "fault": seen.fault,
                "headers": sorted(seen.headers),
            }
            for seen in tuple(self._state.counters.log)
        ]

    def _counts(self) -> dict[str, int]:
        return {name: len(records) for name, records in self._state.records.items()}

    def _change_records(self, body: dict[str, Any]) -> dict[str, Any]:
        """{"list": name} with one or more of "insert": count, "delete": ids, "touch": ids."""
        records = self._state.records.get(str(body.get("list", "donations")))
        if records is None:
            raise ValueError(f"no such list; there are {', '.join(self._state.records)}")
        unknown = set(body) - {"list", "insert", "delete", "touch"}
        if unknown:
            raise ValueError(f"no such change: {', '.join(sorted(unknown))}")
        done: dict[str, Any] = {}
        if "insert" in body:
            done["inserted"] = records.insert(int(body["insert"]))
        if "delete" in body:
            done["deleted"] = records.delete(map(int, body["delete"]))
        if "touch" in body:
            done["touched"] = records.touch(map(int, body["touch"]))
        return {**done, "count": len(records)}
