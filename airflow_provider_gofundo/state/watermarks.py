"""Watermarks: with the asset that a task updates, from Airflow 3.3 on, or in a Variable."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_gofundo.client.query import encode
from airflow_provider_gofundo.dataset.checkpoint import digest_of
from airflow_provider_gofundo.dataset.incremental import Incremental, Point, is_later, point_of
from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoError, GofundoStorageError
from airflow_provider_gofundo.oauth.lease import Cell, Lease, Turn
from airflow_provider_gofundo.settings import Settings
from airflow_provider_gofundo.state.variables import CertainCell, VariableCell

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

log = logging.getLogger(__name__)

PREFIX = "gofundo_watermark__"

# Seconds that a turn may last: two reads and a write. A run that dies in its turn holds the others up for this long.
TURN = 60.0

# Seconds to wait for a turn, and between two attempts.
PATIENCE = 90.0
PAUSE = 1.0

# How often a watermark is written before this gives up, where somebody else keeps writing an earlier one over it.
WRITES = 3


def list_name(
    settings: Settings, endpoint: str, query_params: Mapping[str, Any] | None, incremental: Incremental
) -> str:
    """Return a name that two pulls share only where they ask the same server for the same list in the same way."""
    query = {name: value for name, value in encode(query_params).items() if name != "per_page"}
    what = [settings.base_url, endpoint, query, incremental.param, incremental.field]
    return _short(f"{settings.conn_id}__{endpoint.strip('/')}", *what)


def watermarks_of(context: Mapping[str, Any], task: BaseOperator, name: str) -> SharedWatermark:
    """
    Return where a task keeps its watermark of the list of that name.

    With an asset among its outlets, on Airflow 3.3 or newer, that is the asset's state, for all tasks that update
    the asset. Elsewhere it is a Variable of this task alone: what another task has pulled went to another place.
    """
    key = PREFIX + name
    asset = _asset_of(task)
    if asset is not None and context.get("asset_state_store") is not None:
        store = context["asset_state_store"][asset]
        cell, turn = AssetCell(store, key), AssetCell(store, f"{key}__turn")
        return SharedWatermark(cell, Lease(turn, life=TURN), f"{key}, in the state of asset {asset.name}")
    key = f"{PREFIX}{_short(f'{task.dag_id}.{task.task_id}', task.dag_id, task.task_id)}__{name}"
    return SharedWatermark(CertainCell(key), Lease(VariableCell(f"{key}__turn"), life=TURN), f"the Variable {key}")


class AssetCell:
    """One key of an asset's state as a place for one text."""

    def __init__(self, store: Any, key: str) -> None:
        self._store = store
        self._key = key

    def read(self) -> str:
        """Return the value, empty when there is none."""
        value = self._store.get(self._key)
        return "" if value is None else str(value)

    def write(self, text: str) -> None:
        """Set the value."""
        self._store.set(self._key, text)


class SharedWatermark:
    """
    A watermark in a cell that other runs read and write as well; `place` is what people call the cell.

    It never moves backwards. No store of Airflow can compare and set in one step, so runs take turns to write.
    """

    def __init__(
        self,
        cell: Cell,
        turn: Turn,
        place: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cell = cell
        self._turn = turn
        self._place = place
        self._sleep = sleep
        self._clock = clock

    def read(self) -> str | None:
        """
        Return the watermark as JSON, None where there is none yet.

        GofundoStorageError where it cannot be read: to pull the whole list then would be the wrong guess.
        """
        try:
            text = self._cell.read()
        except Exception as error:  # noqa: BLE001  # what comes depends on the cell
            reason = type(error).__name__
        else:
            return self._as_json(text) if text else None
        raise GofundoStorageError(
            f"The watermark could not be read from {self._place} ({reason}). Nothing was pulled."
        )

    def advance(self, watermark: str) -> None:
        """Put it in the place of an earlier one, never of a later one; GofundoStorageError when that fails."""
        try:
            if self._is_news(watermark):
                with self._own_turn():
                    self._write(watermark)
        except GofundoError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001  # as above
            reason = f"{type(error).__name__}."
        else:
            return
        raise GofundoStorageError(
            f"The dataset is complete, but its watermark could not be written to {self._place}: the next pull will "
            f"fetch again from the older watermark on. {reason}"
        )

    def _write(self, watermark: str) -> None:
        """Write it, and look whether it stays."""
        value = msgspec.json.decode(watermark)
        for _ in range(WRITES):
            if not self._is_news(watermark):
                return
            self._cell.write(str(value))
        if self._is_news(watermark):
            raise GofundoStorageError(f"An earlier one came over it {WRITES} times.")

    def _is_news(self, watermark: str) -> bool:
        """Whether it is later than what stands there now."""
        text = self._cell.read()
        point = _point(watermark)
        return point is not None and is_later(point, _point(self._as_json(text)) if text else None)

    @contextmanager
    def _own_turn(self) -> Iterator[None]:
        """Wait for our turn; go on without where it does not come, since then somebody else is not giving it back."""
        until = self._clock() + PATIENCE
        while not (ours := self._turn.acquire()) and self._clock() < until:
            self._sleep(PAUSE)
        if not ours:
            log.warning("Another run has been writing %s for %d s. Writing it all the same.", self._place, PATIENCE)
        try:
            yield
        finally:
            if ours:
                with suppress(Exception):  # it ends by itself
                    self._turn.release()

    def _as_json(self, text: str) -> str:
        """Return what stands there as JSON. It stands there as the server wrote it, so that people can correct it."""
        try:
            value = msgspec.json.decode(text)
        except msgspec.DecodeError:
            value = text
        if point_of(value) is None:
            raise GofundoConfigError(
                f"What stands in {self._place} is no watermark. Make it a time with a zone in ISO 8601, or a whole "
                "number; or remove it, and the next pull begins as the first one did."
            )
        return msgspec.json.encode(value).decode()


def _point(watermark: str) -> Point | None:
    return point_of(msgspec.json.decode(watermark))


def _asset_of(task: BaseOperator) -> Any:
    """Return the first asset among a task's outlets, None where there is none. An alias has no state."""
    from airflow.providers.common.compat.sdk import Asset

    return next((outlet for outlet in task.outlets or () if isinstance(outlet, Asset)), None)


def _short(text: str, *what: Any) -> str:
    """Return a name of at most 91 characters that all stores take, and that differs where `what` differs."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', text)[:80]}_{digest_of(*what)[:10]}"
