"""What our operators share: the connection, and what becomes of errors that no retry can mend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator

from airflow_provider_gofundo.exceptions import GofundoAuthError, GofundoConfigError
from airflow_provider_gofundo.hooks.gofundo import GofundoHook
from airflow_provider_gofundo.operators.links import GofundoConnectionLink

try:
    from airflow_provider_gofundo.retry_policy import GofundoRetryPolicy
except (ImportError, AttributeError):  # before Airflow 3.3
    GofundoRetryPolicy = None  # type: ignore[assignment, misc]

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperatorLink, Context, RetryPolicy


class GofundoBaseOperator(BaseOperator):
    """
    An operator with a Gofundo connection.

    `retry_policy` is a `GofundoRetryPolicy` unless another is given. Before Airflow 3.3, which has none, errors
    that no retry can mend fail the task as AirflowFailException, with the error as its cause.
    """

    ui_color = "#dcefe6"
    operator_extra_links: Sequence[BaseOperatorLink] = (GofundoConnectionLink(),)

    _hook: GofundoHook | None = None

    def __init__(
        self,
        *,
        gofundo_conn_id: str = GofundoHook.default_conn_name,
        retry_policy: RetryPolicy | None = None,
        **kwargs: Any,
    ) -> None:
        if GofundoRetryPolicy is not None:
            kwargs["retry_policy"] = retry_policy or GofundoRetryPolicy()
        super().__init__(**kwargs)
        self.gofundo_conn_id = gofundo_conn_id

    def execute(self, context: Context) -> Any:
        """Do the operator's work with a hook of its connection."""
        self._hook = GofundoHook(self.gofundo_conn_id)
        try:
            return self.work(self._hook, context)
        except (GofundoConfigError, GofundoAuthError) as error:
            if GofundoRetryPolicy is not None:
                raise
            raise AirflowFailException(str(error)) from error
        finally:
            self._hook = None

    def work(self, hook: GofundoHook, context: Context) -> Any:
        """What the operator does; its return value is the XCom."""
        raise NotImplementedError

    def on_kill(self) -> None:
        """End what is under way, in whatever thread: `execute` raises GofundoStopped then."""
        if self._hook:
            self._hook.stop()
