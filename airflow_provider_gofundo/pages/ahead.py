"""Ahead: fetch what comes next while what came is worked on, in order and within bounds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Idleness:
    """How many `seconds` fetching has kept the caller waiting lately; so many a time, `spared`, do not count."""

    def __init__(self, spared: float) -> None:
        self.seconds = 0.0
        self._spared = spared

    def during(self, fetch: Callable[[K], V], key: K) -> V:
        """Return `fetch(key)`, and measure it."""
        began, worked = time.perf_counter(), time.thread_time()
        result = fetch(key)
        waited = (time.perf_counter() - began) - (time.thread_time() - worked)
        self.seconds = max(0.0, self.seconds + waited - self._spared)
        return result


@contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads that are gone when this block is left, with what they were doing done, and nothing begun."""
    pool = ThreadPoolExecutor(count, thread_name_prefix="gofundo")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def in_parallel(pool: ThreadPoolExecutor, fetch: Callable[[K], V], keys: Iterable[K], *, most: int) -> Iterator[V]:
    """
    Yield `fetch(key)` for every key, in the order of the keys; at most so many are under way or ready.

    The caller is woken once for half of them, or for an error: threads that hand over one by one spend more time on
    that than a page costs.
    """
    waiting: deque[Future[V]] = deque()
    for key in keys:
        waiting.append(pool.submit(fetch, key))
        if len(waiting) == most:
            half = (most + 1) // 2
            wait([waiting[n] for n in range(half)], return_when=FIRST_EXCEPTION)
            for _ in range(half):
                yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def in_turn(pool: ThreadPoolExecutor, fetch_next: Callable[[V], V | None], result: V | None) -> Iterator[V]:
    """
    Yield a result, and then what `fetch_next` makes of each, until that is None.

    One fetch at a time; it is under way while the caller works on what was yielded.
    """
    while result is not None:
        future = pool.submit(fetch_next, result)
        yield result
        result = future.result()
