"""The same work for many items on several threads at once, each of which computes on one core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext
from typing import TypeVar

import torch

Item = TypeVar("Item")
Found = TypeVar("Found")


def pool_of(threads: int) -> ThreadPoolExecutor:
    """Threads that each compute on one core; they end with the pool."""
    return ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))


def side_by_side(
    work: Callable[[Item], Found],
    items: Sequence[Item],
    threads: int,
    look: Callable[[], None] = lambda: None,
    pool: ThreadPoolExecutor | None = None,
) -> list[Found]:
    """Do some work for every item: on one thread it is the caller's, on several each computes on one core.

    A product of the size of a batch gains little from a second thread; two products at once on one thread each gain
    more, and each has the bits that it has alone. So a single item has one core too.

    Args:
        work: called with each item, on any thread.
        items: what to work on.
        threads: number of threads.
        look: called on the caller's thread while the work goes on; an exception from it ends the work after the items
            that are being worked on.
        pool: the threads, from :func:`pool_of`; None starts new ones for this call. Pass a pool for work that is
            repeated: a thread reuses the memory that it has freed.

    Returns:
        What the work gave for each item, in their order.
    """
    if threads == 1:
        found = []
        for item in items:
            look()
            found.append(work(item))
        return found
    with nullcontext(pool) if pool else pool_of(threads) as used:
        jobs = [used.submit(work, item) for item in items]
        try:
            found = []
            for job in jobs:
                look()
                found.append(job.result())
            return found
        finally:
            for job in jobs:
                job.cancel()
            wait(jobs)
