"""Description of the machine, and measurement of memory."""

from __future__ import annotations

import gc
import platform
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from core.training.threads import available_cores

T = TypeVar("T")


def machine() -> str:
    """Processor, cores and versions in one line."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = lines[0] if lines else name
    widest = torch.backends.cpu.get_cpu_capability()
    return f"{name}, {available_cores()} cores, {widest}; Python {platform.python_version()}, torch {torch.__version__}"


def peak_memory(work: Callable[[], T]) -> tuple[T, int | None]:
    """Call a function. Returns: its result, and the peak growth of memory in bytes, None if it is unknown."""
    gc.collect()
    before = _resident("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    except OSError:
        return work(), None
    result = work()
    after = _resident("VmHWM")
    return result, None if before is None or after is None else max(after - before, 0)


def _resident(field: str) -> int | None:
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    lines = [line for line in status.read_text().splitlines() if line.startswith(field + ":")]
    return int(lines[0].split()[1]) * 1024 if lines else None
