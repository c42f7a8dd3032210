"""How many runs fit in a bank, and the banks that a set of runs will be trained in.

:mod:`core.training.sharing` says which runs can be trained together at all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial

from core.errors import LabError
from core.forecast.memory import memory_of
from core.memory import free_bytes
from core.methods.method import Role
from core.run_spec import RunSpec
from core.settings import Settings, choose_device
from core.tasks.tasks import Tasks
from core.training.sharing import bank_key, sharing_of, turn_of

FREE_SHARE = 0.5
"""Share of the free memory that banks may use; datasets, pages and other programs need some too."""


def bank_size(
    specs: Sequence[RunSpec],
    tasks: Tasks,
    settings: Settings,
    limit: int | None = None,
    room: Callable[[str], int] | None = None,
) -> int:
    """How many of these runs, from the first, to train together: as many as are efficient and fit in memory.

    Args:
        specs: runs that one bank can train.
        tasks: where the sizes of their tasks are found.
        settings: limits on memory.
        limit: maximum number, where a larger bank ran out of memory.
        room: bytes that a bank may use on a device; those that are free now if it is not given.
    """
    first = specs[0]
    efficient = sharing_of(first).together
    maximum = min(efficient, len(specs), limit or efficient)
    if maximum == 1:
        return 1
    try:
        most = room(first.device) if room else _room(settings, first.device)
        if memory_of(specs[:maximum], tasks) <= most:
            return maximum
        # The largest number of runs that fits, or 1 if not even one fits.
        return 1 + bisect_right(range(2, maximum), most, key=lambda n: memory_of(specs[:n], tasks))
    except LabError:
        return maximum  # training raises the same error and records it as the cause


def _room(settings: Settings, device: str) -> int:
    """Bytes that a bank may use on a device. Raises: DeviceError: this machine does not have it."""
    return min(settings.bank_bytes, int(FREE_SHARE * free_bytes(choose_device(device)) / settings.workers))


def packed(specs: Sequence[RunSpec], tasks: Tasks, settings: Settings) -> list[list[int]]:
    """The banks that these runs will be trained in if nothing else waits, as indices into ``specs``."""
    alike: dict[str, list[int]] = {}
    for number, spec in enumerate(specs):
        alike.setdefault(bank_key(spec), []).append(number)
    counts = Counter(spec.kind for spec in specs if spec.method.role is not Role.BASE)
    banks = []
    room = cache(partial(_room, settings))  # to ask the system takes as long as to know what a bank takes
    for left in alike.values():
        kind = specs[left[0]].kind
        turn = turn_of(counts[kind]) if kind in counts and len(counts) > 1 else None
        while left:
            size = bank_size([specs[number] for number in left[:turn]], tasks, settings, room=room)
            banks.append(left[:size])
            left = left[size:]
    return banks
