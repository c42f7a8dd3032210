"""Checks that an error message is one clear sentence for users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.errors import LabError

LONGEST = 400
"""Maximum number of characters."""

MACHINE = ("Traceback", 'File "', "Error(", "errno", "<class", " object at ")
"""Technical words that must not appear."""


def faults_of(text: str) -> list[str]:
    """Reasons why a text is not one clear sentence; empty if it is."""
    faults = {
        "is not one line": len(text.splitlines()) != 1,
        "holds what cannot be seen": not text.isprintable(),
        "has no end": not text.endswith("."),
        "is very long": len(text) > LONGEST,
        "speaks like a machine": any(word in text for word in MACHINE),
    }
    return [fault for fault, found in faults.items() if found]


def refusal(kind: type[LabError], ask: Callable[..., object], *values: Any, **more: Any) -> str:
    """The one clear sentence of the error of this kind with which a call ends."""
    with pytest.raises(kind) as caught:
        ask(*values, **more)
    assert faults_of(str(caught.value)) == [], str(caught.value)
    return str(caught.value)
