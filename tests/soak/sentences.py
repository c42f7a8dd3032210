"""What makes a text a clear sentence for the person at the screen."""

from __future__ import annotations

LONGEST = 400
"""Characters; more is not read."""

MACHINE = ("Traceback", 'File "', "Error(", "errno", "<class", " object at ")
"""Words that only those who make software want to see."""


def faults_of(text: str) -> list[str]:
    """What keeps a text from being one clear sentence; nothing where it is one."""
    faults = {
        "is not one line": len(text.splitlines()) != 1,
        "holds what cannot be seen": not text.isprintable(),
        "has no end": not text.endswith("."),
        "is very long": len(text) > LONGEST,
        "speaks like a machine": any(word in text for word in MACHINE),
    }
    return [fault for fault, found in faults.items() if found]
