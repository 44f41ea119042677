"""The fields of the sandbox's lists: fictitious values that follow from the record's id alone.

Lists and fields are the sandbox's own invention; Gofundo's documentation names none. A field is a column: from the
ids on a page to their JSON texts. So a page is rendered without building objects, and a filter looks at one column.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property

from .messages import json_text

START = 1_704_067_200  # 2024-01-01T00:00:00Z
DAY = 86_400

FIRST_NAMES = ("Zoë", "Søren", "O'Fictie", "Тест", "Ada", "Bo", "Noémi", "Łukasz")
LAST_NAMES = (
    "Voorbeeld",
    "Øverland-Test",
    "& Verzonnen Zn.",
    "Примеров",
    "van der Nergens",
    "Sjabloon/Proef",
    "d'Essai",
)
STATUSES = ("paid", "open", "refunded")
CITIES = ("Nergenshuizen", "Proefdorp aan Zee", "Sint-Sjabloon", "Überall")

NAMES = tuple(json_text(f"{first} {last}") for last in LAST_NAMES for first in FIRST_NAMES)
STATUS_TEXTS = tuple(json_text(status) for status in STATUSES)
CITY_TEXTS = tuple(json_text(city) for city in CITIES)


HUNDREDS = tuple(f"{number:02d}" for number in range(100))


class Dates(dict[int, str]):
    """Days since 1970 as text, each made when first asked for."""

    def __missing__(self, days: int) -> str:
        text = self[days] = time.strftime("%Y-%m-%d", time.gmtime(days * DAY))
        return text


class Times(dict[int, str]):
    """Seconds since midnight as text, each made when first asked for."""

    def __missing__(self, seconds: int) -> str:
        text = self[seconds] = time.strftime("%H:%M:%S", time.gmtime(seconds))
        return text


DATES, TIMES = Dates(), Times()


def timestamp(seconds: int) -> str:
    """A point in time as Laravel writes one, with six digits of microseconds and Z."""
    return f'"{DATES[seconds // DAY]}T{TIMES[seconds % DAY]}.000000Z"'


def timestamps(moments: Sequence[int]) -> list[str]:
    """Many of them at once: most of a page's rendering time goes here."""
    return [f'"{DATES[seconds // DAY]}T{TIMES[seconds % DAY]}.000000Z"' for seconds in moments]


def midnights(moments: Sequence[int]) -> list[str]:
    """Dates as Laravel writes a date cast: midnight of the day."""
    return [f'"{DATES[seconds // DAY]}T00:00:00.000000Z"' for seconds in moments]


def amounts(cents: Sequence[int]) -> list[str]:
    """Decimals, which Laravel writes as strings."""
    return [f'"{value // 100}.{HUNDREDS[value % 100]}"' for value in cents]


class Rows:
    """The records on a page: their ids, and when they were created and changed, in seconds since 1970."""

    def __init__(self, ids: Sequence[int], stamps: Callable[[Sequence[int]], tuple[list[int], list[int]]]) -> None:
        self.ids = ids
        self._stamps = stamps

    @cached_property
    def stamps(self) -> tuple[list[int], list[int]]:
        """Creation and last change of each record; one and the same list if none has changed."""
        return self._stamps(self.ids)

    @cached_property
    def created_at(self) -> list[str]:
        """When each was created."""
        return timestamps(self.stamps[0])

    @cached_property
    def updated_at(self) -> list[str]:
        """When each was last changed."""
        created, updated = self.stamps
        return self.created_at if updated is created else timestamps(updated)


Column = Callable[[Rows], list[str]]


FEES = tuple(json_text(cents / 100) if cents else "0" for cents in range(100))
"""Floats, which PHP writes without a zero fraction."""

FLAGS = ("false", "true")
N = len(NAMES)


def _id(rows: Rows) -> list[str]:
    return list(map(str, rows.ids))


def _created_at(rows: Rows) -> list[str]:
    return rows.created_at


def _updated_at(rows: Rows) -> list[str]:
    return rows.updated_at


DONATIONS: dict[str, Column] = {
    "id": _id,
    "project_id": lambda rows: [str(i % 7 + 1) for i in rows.ids],
    "donor_name": lambda rows: [NAMES[i % N] if i % 5 else "null" for i in rows.ids],
    "donor_email": lambda rows: [f'"donor{i}@example.org"' if i % 5 else "null" for i in rows.ids],
    "amount": lambda rows: amounts([i * 7919 % 1_000_000 for i in rows.ids]),
    "fee": lambda rows: [FEES[i * 13 % 100] for i in rows.ids],
    "currency": lambda rows: ['"EUR"'] * len(rows.ids),
    "anonymous": lambda rows: [FLAGS[i % 5 == 0] for i in rows.ids],
    "status": lambda rows: [STATUS_TEXTS[i % 3] for i in rows.ids],
    "meta": lambda rows: [f'{{"seq":{i},"tags":["a","b"]}}' if i % 4 else "null" for i in rows.ids],
    "donated_on": lambda rows: midnights(rows.stamps[0]),
    "exported_on": lambda rows: [f'"{DATES[seconds // DAY]}"' for seconds in rows.stamps[0]],
    "paid_at": lambda rows: [
        "null" if i % 3 else created for i, created in zip(rows.ids, rows.created_at, strict=True)
    ],
    "created_at": _created_at,
    "updated_at": _updated_at,
}
"""One gift each: every fifth is anonymous, every fourth has no meta, every third is paid."""

DONORS: dict[str, Column] = {
    "id": _id,
    "name": lambda rows: [NAMES[i % N] for i in rows.ids],
    "email": lambda rows: [f'"donor{i}@example.org"' for i in rows.ids],
    "city": lambda rows: [CITY_TEXTS[i % len(CITY_TEXTS)] if i % 6 else "null" for i in rows.ids],
    "newsletter": lambda rows: [FLAGS[i % 2] for i in rows.ids],
    "created_at": _created_at,
    "updated_at": _updated_at,
}
"""Who gives."""

ACTIONS: dict[str, Column] = {
    "id": _id,
    "title": lambda rows: [json_text(f"Actie {i} – «Proef & Première»") for i in rows.ids],
    "url": lambda rows: [json_text(f"https://example.org/acties/{i}") for i in rows.ids],
    "goal": lambda rows: amounts([i * 100_000 for i in rows.ids]),
    "raised": lambda rows: amounts([i * 31_337 % 100_000 for i in rows.ids]),
    "starts_on": lambda rows: midnights(rows.stamps[0]),
    "ends_on": lambda rows: [
        "null" if i % 3 else ends
        for i, ends in zip(rows.ids, midnights([start + 30 * DAY for start in rows.stamps[0]]), strict=True)
    ],
    "created_at": _created_at,
    "updated_at": _updated_at,
}
"""What is collected for."""

LISTS = {"donations": DONATIONS, "donors": DONORS, "actions": ACTIONS}
MODELS = {"donations": "Donation", "donors": "Donor", "actions": "Action"}
