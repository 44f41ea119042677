"""What a sandbox holds, shared by its HTTP face, its control endpoint and its Python face."""

from __future__ import annotations

from dataclasses import dataclass

from .clients import Client
from .clock import Clock
from .counters import Counters
from .faults import Faults
from .hooks import Hooks
from .records import Records
from .settings import Settings
from .throttle import Throttle
from .tokens import TokenStore


@dataclass(frozen=True)
class State:
    """One sandbox's memory. It outlives a stop and a start."""

    settings: Settings
    clock: Clock
    clients: dict[str, Client]
    tokens: TokenStore
    records: dict[str, Records]
    faults: Faults
    counters: Counters
    throttle: Throttle
    hooks: Hooks
