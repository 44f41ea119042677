"""Writing donations: the checks of a Laravel form request, and changes to the records in memory."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from .fields import timestamp
from .html import redirect
from .messages import Request, Response, json_response
from .records import Records
from .tokens import Access

Refuse = Callable[[Request, int, str], Response]
NAME_LENGTH = 50


class DonationEndpoint:
    """POST, GET, PUT, PATCH and DELETE of a donation."""

    def __init__(self, records: Records, refuse: Refuse) -> None:
        self._records = records
        self._refuse = refuse

    def create(self, request: Request) -> Response:
        """201 with what was given and what was filled in (d15), or what is wrong with it (d14)."""
        fields = request.form
        errors = _problems(fields, required=("project_id", "amount"))
        if errors:
            return _invalid(request, errors)
        values = _clean(fields)
        with self._records.lock:
            record_id = self._records.insert(1)[0]
            created = timestamp(self._records.created(record_id)).strip('"')
            defaults = {"currency": "EUR", "status": "open", "anonymous": False}
            filled = {**values, **{name: value for name, value in defaults.items() if name not in values}}
            self._records.change(record_id, filled)
        answer = {**filled, "updated_at": created, "created_at": created, "id": record_id}
        return json_response({"data": answer}, 201)

    def one(self, request: Request, _access: Access, record_id: str) -> Response:
        """Read, change or remove one donation."""
        if not record_id.isdecimal() or int(record_id) not in self._records:
            return self._refuse(request, 404, f"No query results for model [App\\Models\\Donation] {record_id}")
        number = int(record_id)
        if request.method == "DELETE":
            self._records.delete((number,))
            return Response(204, b"", (("Cache-Control", "no-cache, private"),))
        if request.method in ("PUT", "PATCH"):
            required = ("project_id", "amount") if request.method == "PUT" else ()
            errors = _problems(request.form, required)
            if errors:
                return _invalid(request, errors)
            self._records.change(number, _clean(request.form))
        return json_response({"data": self._records.value(number)})


def _problems(fields: dict[str, Any], required: tuple[str, ...]) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    for name in required:
        if fields.get(name) in (None, ""):
            errors[name] = [f"The {name.replace('_', ' ')} field is required."]
    amount = _decimal(fields.get("amount"))
    if "amount" in fields and "amount" not in errors:
        if amount is None:
            errors["amount"] = ["The amount must be a number."]
        elif amount < 1:
            errors["amount"] = ["The amount must be at least 1."]
    if len(str(fields.get("donor_name") or "")) > NAME_LENGTH:
        errors["donor_name"] = [f"The donor name must not be greater than {NAME_LENGTH} characters."]
    return errors


def _clean(fields: dict[str, Any]) -> dict[str, Any]:
    amount = _decimal(fields.get("amount"))
    return {**fields, "amount": f"{amount:.2f}"} if amount is not None else dict(fields)


def _decimal(value: object) -> Decimal | None:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _invalid(request: Request, errors: dict[str, list[str]]) -> Response:
    if request.expects_json:
        return json_response({"message": "The given data was invalid.", "errors": errors}, 422)
    return redirect(request.base_url)
