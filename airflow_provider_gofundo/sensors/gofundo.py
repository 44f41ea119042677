"""GofundoSensor: waits until a list answers a condition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from inspect import unwrap
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_gofundo import exceptions
from airflow_provider_gofundo.exceptions import GofundoAuthError, GofundoConfigError, GofundoError
from airflow_provider_gofundo.operators.base import GofundoBaseOperator
from airflow_provider_gofundo.triggers.condition import Condition, is_passing

if TYPE_CHECKING:
    import requests
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_gofundo.hooks.gofundo import GofundoHook

HOPELESS = (GofundoConfigError, GofundoAuthError)

# Seconds between two looks of a trigger, at least.
LEAST = 1.0


class GofundoSensor(GofundoBaseOperator, BaseSensorOperator):
    """
    Wait until a list answers a condition, which is exactly one of these:

    - `min_records`: the list has at least so many records. Its total counts where the server tells it, otherwise
      its pages are counted.
    - `field` and `equals`: the field has that value in some record of the list, or in the one object that the
      endpoint answers.
    - `response_check(response)` is true, for one GET of the endpoint. Where the sensor is deferrable it is the import
      path of a function, such as `checks.is_settled`: a trigger is kept as JSON.

    Trouble that may pass, such as an outage or a 429, is logged and waited out until `timeout`; a wrong connection or
    argument fails the task at once. The XCom is the number of records with `min_records`, otherwise none.

    `mode`, `poke_interval`, `timeout`, `soft_fail` and the rest are those of all sensors. With `deferrable`, which
    `[operators] default_deferrable` says unless told here, no worker waits; `exponential_backoff` has no effect then,
    nor has `silent_fail`.
    """

    template_fields: Sequence[str] = ("endpoint", "query_params", "equals", "gofundo_conn_id")
    template_fields_renderers = {"query_params": "json"}  # noqa: RUF012  # Airflow's shape

    def __init__(
        self,
        *,
        endpoint: str,
        query_params: Mapping[str, Any] | None = None,
        min_records: int | None = None,
        field: str | None = None,
        equals: Any = None,
        response_check: Callable[[requests.Response], Any] | str | None = None,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.query_params = query_params
        self.min_records = min_records
        self.field = field
        self.equals = equals
        self.response_check = response_check
        if deferrable is None:
            # A function cannot be deferred, and who gave one has not asked for it.
            by_default = conf.getboolean("operators", "default_deferrable", fallback=False)
            deferrable = by_default and not callable(response_check)
        self.deferrable = deferrable

    def work(self, hook: GofundoHook, context: Context) -> Any:
        """Wait here; or look once, and leave the rest to a trigger."""
        condition = self._condition()
        if not self.deferrable:
            # Airflow 2's guard against operators in operators takes a sensor's own class for another operator.
            return unwrap(BaseSensorOperator.execute)(self, context)
        try:
            found = self.poke(context)
        except Exception as error:
            if self.never_fail:
                raise AirflowSkipException("Skipping due to never_fail is set to True.") from error
            raise
        if not found:
            self._defer(condition)
        return found.xcom_value

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        assert self._hook  # noqa: S101  # `execute` has made it
        try:
            look = self._condition().look(self._hook.client)
        except GofundoError as error:
            if not is_passing(error):
                raise
            self.log.warning("%s Looking again later.", error)
            return PokeReturnValue(False)
        return PokeReturnValue(look.done, look.records)

    def resume(self, context: Context, event: dict[str, Any]) -> int | None:
        """End as the trigger found it."""
        if event["status"] == "timeout":
            raise AirflowSensorTimeout(f"Sensor has timed out after {self.timeout:.0f} s: {self.endpoint}.")
        if event["status"] == "failed":
            error = getattr(exceptions, event["error"], GofundoError)(event["text"])
            # Before Airflow 3.3 there is no retry policy.
            hopeless = isinstance(error, HOPELESS) and getattr(self, "retry_policy", None) is None
            if hopeless or self.never_fail:
                raise AirflowFailException(event["text"]) from error
            raise error
        records: int | None = event["records"]
        return records

    def _condition(self) -> Condition:
        if self.deferrable and callable(self.response_check):
            raise GofundoConfigError(
                "response_check: a deferrable sensor takes the import path of a function, such as checks.is_settled, "
                "not the function itself; or give deferrable=False."
            )
        return Condition(
            endpoint=self.endpoint,
            query_params=self.query_params,
            min_records=self.min_records,
            field=self.field,
            equals=self.equals,
            response_check=self.response_check,
        )

    def _defer(self, condition: Condition) -> None:
        from airflow_provider_gofundo.triggers.gofundo import GofundoTrigger

        began = datetime.now(timezone.utc)
        limit = timedelta(seconds=self.timeout)
        trigger = GofundoTrigger(
            gofundo_conn_id=self.gofundo_conn_id,
            condition=condition.arguments(),
            poke_interval=max(LEAST, self.poke_interval),
            began=began.isoformat(),
            deadline=(began + limit).isoformat(),
        )
        # Airflow's own limit counts as well, should no triggerer be running by then.
        self.defer(trigger=trigger, method_name="resume", timeout=limit)
