"""GofundoRetryPolicy: which of our errors a task should retry. For Airflow 3.3 and newer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import RetryDecision, RetryPolicy

from airflow_provider_gofundo.exceptions import GofundoAuthError, GofundoConfigError, GofundoRateLimitError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

# Trying again changes nothing: somebody has to correct the connection, the DAG, or log in.
HOPELESS = (GofundoConfigError, GofundoAuthError)


class GofundoRetryPolicy(RetryPolicy):
    """
    Fails at once what no retry can mend, and waits as long as the server asks when it asks to slow down.

    Everything else is left to the task's own `retries` and `retry_delay`.

    Our operators have it already; give it to your own tasks with `@task(retry_policy=GofundoRetryPolicy())`.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide by the kind of the exception."""
        if isinstance(exception, HOPELESS):
            return RetryDecision.fail(reason="No retry can mend this.")
        if isinstance(exception, GofundoRateLimitError) and exception.retry_in:
            return RetryDecision.retry(
                delay=timedelta(seconds=exception.retry_in), reason="As long as the server asks to wait."
            )
        return RetryDecision.default()
