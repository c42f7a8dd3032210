"""Size of soak tests, short in the whole suite and full in ``make soak``, and the file of their figures."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

T = TypeVar("T")

FULL = os.environ.get("LORA_LAB_SOAK") == "full"
"""Whether this is a full run, whose figures are saved."""

FIGURES = Path(__file__).with_name("figures.json")
"""Figures of the last full run, with machine and date; ``tests/README.md`` shows them."""


def full_or_short(full: T, short: T) -> T:
    """``full`` in a full run, else ``short``."""
    return full if FULL else short


def keep(name: str, **figures: Any) -> None:
    """Print what a test measured, and save it in a full run."""
    print(f"{name}: {json.dumps(figures)}")
    if FULL:
        known = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
        known[name] = figures | {"date": time.strftime("%Y-%m-%d"), "machine": _machine()}
        FIGURES.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def later_thirds(samples: Sequence[float]) -> tuple[float, float]:
    """The medians of the middle third of some samples, taken one after another, and of the last."""
    third = len(samples) // 3
    return median(samples[third : 2 * third]), median(samples[2 * third :])


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
