"""GofundoTrigger waits on behalf of a deferred sensor; GofundoNewRecordsTrigger tells a DAG of new records."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Hashable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoError
from airflow_provider_gofundo.oauth.token import now
from airflow_provider_gofundo.triggers.clients import SharedClient
from airflow_provider_gofundo.triggers.condition import Condition, Look, check_field, is_passing
from airflow_provider_gofundo.triggers.schedule import next_look

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError:  # Airflow 2, where no DAG can wait for events
    BaseEventTrigger = BaseTrigger  # type: ignore[assignment, misc]

if TYPE_CHECKING:
    from airflow.triggers.shared_stream import SharedStreamProducer

    from airflow_provider_gofundo.client.client import GofundoClient
    from airflow_provider_gofundo.oauth.lease import Cell
    from airflow_provider_gofundo.triggers.watch import Watch

PREFIX = "gofundo_watch__"

# Seconds within which Airflow surely has an event, before 3.3, which says so.
SETTLED = 5.0

# Seconds that a look may take at least, however close the deadline is.
LEAST = 1.0

# What a watch may change without beginning anew.
_PACE = ("poke_interval", "lookback", "initial")


class GofundoTrigger(BaseTrigger):
    """
    Looks every `poke_interval` seconds whether a condition is true, until `deadline`, which ends a look as well.

    Its looks are at `began` plus whole intervals, also in another triggerer, so restarts neither add to them nor
    crowd them. One look is one try. Trouble that may pass is logged, and waited for as long as the server asks;
    anything else ends the wait at once. Its one event has `status`, which is found, failed or timeout.

    `condition` holds the arguments of a `Condition`, as JSON; `began` and `deadline` are times in ISO 8601.
    """

    def __init__(
        self, *, gofundo_conn_id: str, condition: dict[str, Any], poke_interval: float, began: str, deadline: str
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's has no types
        self.gofundo_conn_id = gofundo_conn_id
        self.condition = condition
        self.poke_interval = poke_interval
        self.began = began
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow keeps of it in its database. Nothing of it is secret."""
        return _serialized(self, "gofundo_conn_id", "condition", "poke_interval", "began", "deadline")

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until it is found, has failed, or the time is over."""
        try:
            event = await self._waited()
        except GofundoError as error:
            event = {"status": "failed", "error": type(error).__name__, "text": str(error)}
        yield _event(event)

    async def _waited(self) -> dict[str, Any]:
        condition = Condition(**self.condition)
        began, deadline = _seconds(self.began), _seconds(self.deadline)
        wait = 0.0
        with SharedClient(self.gofundo_conn_id) as client:
            while True:
                at = next_look(now=now().timestamp(), began=began, interval=self.poke_interval, wait=wait)
                await asyncio.sleep(min(at, deadline) - now().timestamp())
                if at > deadline:
                    return {"status": "timeout"}
                wait = 0.0
                left = max(LEAST, deadline - now().timestamp())
                try:
                    look = await asyncio.wait_for(client.ask(partial(_look, condition)), left)
                except asyncio.TimeoutError:
                    return {"status": "timeout"}
                except GofundoError as error:
                    if not is_passing(error) and not await client.is_corrected():
                        raise
                    wait = error.retry_in or 0.0
                    self.log.warning("%s Looking again later.", error)
                except Exception as error:  # noqa: BLE001  # what comes from Airflow depends on its version
                    self.log.warning(
                        "Airflow cannot tell the connection (%s). Looking again later.", type(error).__name__
                    )
                else:
                    if look.done:
                        return {"status": "found", "records": look.records}
                    self.log.info("%s: not yet.", condition.endpoint)


class GofundoNewRecordsTrigger(BaseEventTrigger):
    """
    Tells of new records in a list, for an `AssetWatcher`. Airflow 3.0 and newer.

    Every `poke_interval` seconds it asks the list with `param` for what is new since the watermark, the greatest
    value of `field` so far, less `lookback`. What has not been told before becomes an event: `records` says how many,
    `keys` their values of `record_key`, `watermark` how far it has come, and `id` is the event's own. A record whose
    `field` changes, as `updated_at` does, is told again; for new records only name `created_at` and its parameter.

    It begins with what comes after its first look, or at `initial`, which a number needs. `lookback` is a timedelta,
    or seconds, or units of a number; one hour, or 0 for numbers, unless told otherwise. `poke_interval` is seconds,
    or a timedelta.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        param: str,
        field: str,
        query_params: Mapping[str, Any] | None = None,
        record_key: str = "id",
        lookback: timedelta | float | None = None,
        initial: datetime | str | int | None = None,
        poke_interval: timedelta | float = 60.0,
        gofundo_conn_id: str = "gofundo_default",
    ) -> None:
        from airflow_provider_gofundo.dataset.incremental import Incremental

        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's has no types
        if not 0 < _number(poke_interval) < math.inf:
            raise GofundoConfigError("poke_interval must be seconds, above 0.")
        if lookback is not None and not 0 <= _number(lookback) < timedelta.max.total_seconds():
            raise GofundoConfigError("lookback must be a timedelta or a number, not below 0.")
        check_field("record_key", record_key)
        self.endpoint = endpoint
        self.param = param
        self.field = field
        self.query_params = dict(query_params or {})
        self.record_key = record_key
        self.lookback = None if lookback is None else _number(lookback)
        self.initial = initial.isoformat() if isinstance(initial, datetime) else initial
        self.poke_interval = float(_number(poke_interval))
        self.gofundo_conn_id = gofundo_conn_id
        # So that what is wrong is said where the DAG is read.
        Incremental(param=param, field=field, initial=self.initial)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow keeps of it in its database. Nothing of it is secret."""
        return _serialized(
            self, "endpoint", "param", "field", "query_params", "record_key", "lookback", "initial", "poke_interval",
            "gofundo_conn_id",
        )  # fmt: skip

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look for ever. Before Airflow 3.3 an event counts as told once Airflow has had time to take it."""
        watch = await asyncio.to_thread(self._watch)
        async for event in watch.events():
            yield _event(event)
            await asyncio.sleep(SETTLED)
            await watch.confirm([event["id"]])

    def shared_stream_key(self) -> Hashable | None:
        """Have Airflow confirm events, where it can."""
        if not hasattr(BaseEventTrigger, "create_shared_stream_producer"):
            return None
        return repr(self.serialize())

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:  # noqa: ARG003  # Airflow's
        """Return what Airflow confirms events to."""
        from airflow_provider_gofundo.triggers.confirmed import ConfirmedEvents

        return ConfirmedEvents()

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Give the producer this trigger's watch when it asks, and pass on the events."""
        async for item in shared_stream:
            if isinstance(item, asyncio.Future):
                watch = await asyncio.to_thread(self._watch)  # a thread, because of what it imports
                if not item.done():
                    item.set_result(watch)
            else:
                yield _event(item)

    def _watch(self) -> Watch:
        from airflow_provider_gofundo.triggers.feed import Feed
        from airflow_provider_gofundo.triggers.watch import Watch

        feed = Feed(
            endpoint=self.endpoint,
            query_params=self.query_params,
            param=self.param,
            field=self.field,
            record_key=self.record_key,
            lookback=self.lookback,
            initial=self.initial,
        )
        return Watch(feed, self._cell(), gofundo_conn_id=self.gofundo_conn_id, poke_interval=self.poke_interval)

    def _cell(self) -> Cell:
        """Where it remembers: with its asset, from Airflow 3.3 on, where it has one; or in a Variable of its own."""
        from airflow_provider_gofundo.dataset.checkpoint import digest_of
        from airflow_provider_gofundo.state.variables import CertainCell
        from airflow_provider_gofundo.state.watermarks import AssetCell

        _, kwargs = self.serialize()
        store = getattr(self, "asset_state_store", None)
        if store is not None:
            same = {name: value for name, value in kwargs.items() if name not in _PACE}
            return AssetCell(store, PREFIX + digest_of(same)[:20])
        return CertainCell(PREFIX + digest_of(kwargs)[:20])


def _event(payload: Mapping[str, Any]) -> TriggerEvent:
    return TriggerEvent(dict(payload))  # type: ignore[no-untyped-call]  # as above


def _serialized(trigger: BaseTrigger, *names: str) -> tuple[str, dict[str, Any]]:
    kind = type(trigger)
    return f"{kind.__module__}.{kind.__qualname__}", {name: getattr(trigger, name) for name in names}


def _look(condition: Condition, client: GofundoClient) -> Look:
    try:
        return condition.look(client)
    except GofundoError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever a function does; its words may quote the answer
        raise GofundoConfigError(
            f"response_check ended with {type(error).__name__}; correct it."
            if condition.response_check
            else f"{condition.endpoint} answers what cannot be compared ({type(error).__name__})."
        ) from None


def _number(duration: timedelta | float) -> float:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
