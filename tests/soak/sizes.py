"""How large a soak test is, and where its figures go: short with the whole suite, at full size by ``make soak``."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

FULL = os.environ.get("LORA_LAB_SOAK") == "full"
"""Whether this is the full size, whose figures are kept."""

FIGURES = Path(__file__).with_name("figures.json")
"""What the last full run measured, with machine and date; ``tests/README.md`` tells of it."""


def full_or_short(full: T, short: T) -> T:
    """The size of this run."""
    return full if FULL else short


def keep(name: str, **figures: Any) -> None:
    """Print what a test measured, and keep it where this is the full size."""
    print(f"{name}: {json.dumps(figures)}")
    if FULL:
        known = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
        known[name] = figures | {"date": time.strftime("%Y-%m-%d"), "machine": _machine()}
        FIGURES.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
