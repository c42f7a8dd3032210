"""What becomes of a job whose runs do not fit in memory together."""

from __future__ import annotations

import gc

import torch


def halved(runs: int) -> tuple[int, str]:
    """How many runs are trained together where so many ran out of memory: half of them, rounded up.

    Returns:
        Their number, and what it means, as in ``they train at most 3 together``.
    """
    half = (runs + 1) // 2
    return half, f"they train {f'at most {half} together' if half > 1 else 'each alone'}"


def free_memory() -> None:
    """Give back what a job has left before the next one allocates."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
