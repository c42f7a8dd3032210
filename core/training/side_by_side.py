"""The same work for many items on several threads at once, each of which computes on one core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Found = TypeVar("Found")


def side_by_side(
    work: Callable[[Item], Found], items: Sequence[Item], threads: int, look: Callable[[], None] = lambda: None
) -> list[Found]:
    """Do some work for every item; on one thread, the caller's.

    A product of the size of a batch gains little from a second thread; two products at once on one thread each gain
    more, and each has the bits that it has alone.

    Args:
        work: called with each item, on any thread.
        items: what to work on.
        threads: number of threads.
        look: called on the caller's thread while the work goes on; an exception from it ends the work after the items
            that are being worked on.

    Returns:
        What the work gave for each item, in their order.
    """
    if threads == 1 or len(items) < 2:
        found = []
        for item in items:
            look()
            found.append(work(item))
        return found
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        jobs = [pool.submit(work, item) for item in items]
        try:
            found = []
            for job in jobs:
                look()
                found.append(job.result())
            return found
        finally:
            for job in jobs:
                job.cancel()
