"""Checks that an error message is one clear sentence for users."""

from __future__ import annotations

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
