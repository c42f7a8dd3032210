"""Free memory, growth of the memory in use, and recognition of out-of-memory errors."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch
from torch import nn

MESSAGES = (
    "DefaultCPUAllocator:",  # torch's CPU allocator, also inside a compiled step
    "std::bad_alloc",
    "could not create a primitive",  # oneDNN, whose products here are all of kinds that it supports
    "MPS backend out of memory",
)
"""Parts of the messages of RuntimeErrors that mean out of memory."""

STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
"""Where Linux says what the peak memory of this process was, and where it can be told to start anew."""

FORGOTTEN = 2**24
"""Bytes by which the peak may differ from the memory in use once the system has started anew."""

GROUPS, MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory of the machine or of a device could not be allocated."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(part in str(error) for part in MESSAGES)


def training_bytes(network: nn.Module) -> int:
    """Bytes of a network's weights, and of gradients and Adam's two moments for those that are trained."""
    return sum(p.nbytes * (4 if p.requires_grad else 1) for p in network.parameters())


LIBRARY = "libc.so.6"
"""The C library with the allocator: glibc, as on most Linux systems. With others nothing changes here."""

TRIM, PAD, MAP = -1, -2, -3
"""Numbers of settings of mallopt(3): how much freed memory at the end of a heap is kept, by how much a heap grows, and
the size of a single allocation that is mapped, and so given back as soon as it is freed."""

KEPT = {TRIM: 2**30, PAD: 2**26, MAP: 2**30}
USUAL = {TRIM: 2**26, PAD: 2**17, MAP: 2**25}
"""The values that glibc arrives at by itself in a process that has freed large tensors."""

_kept, _counting = 0, threading.Lock()


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Have the allocator keep memory that is freed, for the whole process, and give it back at the end.

    Each step of a large network frees what the next one allocates again. The system would have to clear every page of
    it anew, which takes a tenth of full fine-tuning of MiniLM.
    """
    _keep(1)
    try:
        yield
    finally:
        _keep(-1)
        give_back()


def _keep(more: int) -> None:
    """Change the number of those who want freed memory to be kept."""
    global _kept
    with _counting:
        _kept += more
        with contextlib.suppress(OSError, AttributeError):
            for number, value in (KEPT if _kept else USUAL).items():
                ctypes.CDLL(LIBRARY).mallopt(number, value)


def give_back() -> None:
    """Give memory that was freed back to the system, which the allocator would keep in pieces."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(LIBRARY).malloc_trim(0)


class Growth:
    """Growth of this process's memory since the object was created, in bytes.

    On Linux the system notes the peak, so that what is needed between two samples counts, as while a checkpoint is
    written; it notes one for the whole process, so a later object takes over from an earlier one. Elsewhere the memory
    at each sample counts.
    """

    def __init__(self) -> None:
        give_back()  # otherwise memory that earlier work has freed would be used again without any growth
        self._process = psutil.Process()
        with contextlib.suppress(OSError):
            FORGET.write_text("5")  # the peak until now; see proc(5)
        self._start = self._rss()
        self._notes_peak = abs(_noted_peak() - self._start) < FORGOTTEN
        self.peak = 0
        """Maximum growth until the last sample."""

    def sample(self) -> None:
        """Take a sample; needs some thirty microseconds."""
        self.peak = max(self.peak, (_noted_peak() if self._notes_peak else self._rss()) - self._start)

    def _rss(self) -> int:
        found: int = self._process.memory_info().rss
        return found


def _noted_peak() -> int:
    """Peak memory of this process in bytes, as the system has noted it; 0 if it does not."""
    line = next((line for line in _text(STATUS).splitlines() if line.startswith("VmHWM:")), "VmHWM: 0")
    return 1024 * int(line.split()[1])


def free_bytes(device: torch.device) -> int:
    """Bytes of free memory of a device, within the limits on this process."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    limit = cgroup_free(_text(GROUPS), MOUNT)
    available: int = psutil.virtual_memory().available
    return available if limit is None else min(available, limit)


def cgroup_free(groups: str, mount: Path) -> int | None:
    """Bytes that a process may still allocate under its control groups, version 1 or 2; None if they set no limit.

    Args:
        groups: the text of ``/proc/self/cgroup``.
        mount: folder where control groups are mounted.
    """
    found = []
    roots: tuple[Path, ...]
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            roots, names = (mount, mount / "unified"), ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            roots = (mount / "memory",)
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # Limits of all ancestors apply too. In a container the path may be one on the host: then only the mount itself
        # exists, which is the container's own group.
        own = Path(path.lstrip("/"))
        found += [_left(root / group, *names) for root in roots for group in (own, *own.parents)]
    known = [left for left in found if left is not None]
    return min(known) if known else None


def _left(group: Path, limit: str, usage: str, cached: str) -> int | None:
    """Bytes that one group may still allocate; cached files that are not in use count as free."""
    maximum, used = _text(group / limit).strip(), _text(group / usage).strip()
    if not maximum.isdigit() or not used.isdigit():  # no such group, or "max"
        return None
    stat = dict(line.split(maxsplit=1) for line in _text(group / "memory.stat").splitlines() if " " in line)
    return max(0, int(maximum) - int(used) + int(stat.get(cached, 0)))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
