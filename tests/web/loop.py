"""Coroutines run to their end wherever a test stands."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def complete(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run it in a thread of its own: Playwright keeps a loop going in the thread of the tests."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, coroutine).result()
