"""Defaults of fields in words: what a field means, and why it starts as it does."""

from __future__ import annotations

from typing import Any


def explained(description: str, start: Any, reason: str, lead: str = "Default") -> str:
    """The help of a field: what it means and, where there is a reason, why it starts as it does.

    Args:
        description: what it means.
        start: its value at first.
        reason: a clause; empty for none, which leaves the description.
        lead: what comes before the value.
    """
    values = start if isinstance(start, list | tuple) else [start]
    shown = ", ".join(value if isinstance(value, str) else f"{value:g}" for value in values)
    return f"{description} {lead} {shown}: {reason}." if reason else description
