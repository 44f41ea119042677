"""Code of a test that runs inside the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Hook = Callable[[str, str], None]
"""Called with the method and the path of a request."""


@dataclass
class Hooks:
    """What is called when; None for nothing. May be changed from any thread."""

    before_each: Hook | None = None
    """Right before a list answer is made."""
