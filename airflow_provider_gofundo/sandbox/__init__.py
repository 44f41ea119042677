"""A local stand-in for a Gofundo instance: for development, demonstrations and tests.

It speaks OAuth as Laravel Passport does and answers lists in every shape of a Laravel API. The names of its lists and
fields are its own: Gofundo's documentation names none.
"""

from __future__ import annotations

from .clients import Client, User
from .counters import Seen
from .faults import Fault
from .sandbox import Sandbox
from .settings import Settings

__all__ = ["Client", "Fault", "Sandbox", "Seen", "Settings", "User"]
