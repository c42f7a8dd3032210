"""The executors, by the name that ``LORA_LAB_EXECUTOR`` has."""

from __future__ import annotations

from collections.abc import Callable

from core.engine.jobs.executor import Executor
from core.engine.jobs.in_thread import ThreadExecutor
from core.engine.jobs.supplies import Supplies
from core.errors import SpecError

EXECUTORS: dict[str, Callable[[Supplies], Executor]] = {
    "threads": ThreadExecutor,
}
"""What makes each of them. The first is the default."""


def executor_named(name: str, supplies: Supplies) -> Executor:
    """Make an executor. Raises: SpecError: there is none of this name."""
    if name not in EXECUTORS:
        raise SpecError(f"There is no executor {name[:60]!r}; set LORA_LAB_EXECUTOR to one of: {', '.join(EXECUTORS)}.")
    return EXECUTORS[name](supplies)
