"""What differs between two machines, or two moments, with equal numbers: it is left out of golden files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PATTERNS = {
    r"\d{4}-\d\d-\d\d \d\d:\d\d UTC</p>": "DATE</p>",  # of a report; all others are in the store
    r"/download/page/[\w-]+/": "/download/page/TOKEN/",
    r"\barms=[^&\s]+": "arms=KEYS",  # digests of specs
    r"(Finish: (?:at least )?[\d,]+ runs?)[^]]*": r"\1",  # and a forecast, once it is known
    r"^progress text: .* stored: .*": "progress text: STORED",
    r"(Versions, now\S*).*": r"\1 VERSIONS",
}
"""Texts that are replaced wherever they stand."""


def settled(lines: Iterable[str], home: Path) -> list[str]:
    """Lines without what is volatile.

    Args:
        lines: of a text.
        home: the folder whose path stands in them.
    """
    found = []
    for line in lines:
        line = line.replace(str(home), "HOME")
        for pattern, replacement in PATTERNS.items():
            line = re.sub(pattern, replacement, line)
        found.append(line)
    return found


def parted(lines: Iterable[str]) -> tuple[list[str], list[Any]]:
    """Lines, and what stood between them as JSON objects, which may get fields of their own in later versions."""
    rest, objects = [], []
    for line in lines:
        try:
            found = json.loads(line) if line.startswith("{") else None
        except ValueError:
            found = None
        if found is None:
            rest.append(line)
        else:
            objects.append(found)
    return rest, objects
