"""The worked examples of docs/extending.md as code that tests run."""

from __future__ import annotations

import re

from tests.docs.source import EXTENDING


def example(title: str) -> str:
    """The code under ``### Example: title``."""
    text = EXTENDING.read_text(encoding="utf-8")
    _, found, rest = text.partition(f"### Example: {title}\n")
    if not found:
        raise LookupError(f"docs/extending.md has no example of {title}")
    code = re.search(r"```python\n(.*?)```", rest.partition("\n### ")[0], re.DOTALL)
    if code is None:
        raise LookupError(f"the example of {title} has no code")
    return code[1]
