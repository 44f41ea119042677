"""The retry policy, composed of tenacity's pieces: what is tried again, after how long, and when to stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential_jitter,
)

from airflow_provider_gofundo.exceptions import GofundoError

log = logging.getLogger(__name__)

# Longest time from a request's first try to the start of its last, in seconds: ten of Laravel's throttle windows.
BUDGET = 600

_backoff = wait_exponential_jitter(initial=1, max=60, jitter=1)


def retry_policy(
    max_attempts: int,
    *,
    sleep: Callable[[float], None] = time.sleep,
    on_wait: Callable[[float], None] = lambda _: None,
) -> Retrying:
    """
    Return the policy for one request: an error's `retry_in` says whether and when at the earliest.

    It waits the longer of that and a jittered exponential backoff. Where the wait would pass the budget it stops
    at once, with the error it has. `on_wait` is told every wait, in seconds.
    """

    def before_sleep(state: RetryCallState) -> None:
        log.warning(
            "%s Next try in %.0f s (%d of %d).",
            _error(state), state.upcoming_sleep, state.attempt_number + 1, max_attempts,
        )  # fmt: skip
        on_wait(state.upcoming_sleep)

    return Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, GofundoError) and error.retry_in is not None),
        wait=lambda state: max(_error(state).retry_in or 0, _backoff(state)),
        stop=stop_after_attempt(max_attempts) | stop_before_delay(BUDGET),
        sleep=sleep,
        before_sleep=before_sleep,
        reraise=True,
    )


def _error(state: RetryCallState) -> GofundoError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, GofundoError)  # noqa: S101  # only these are retried
    return error
