"""Hugging Face's transformers, imported when it is first needed: that takes a second, which people who train
perceptrons need not wait.
"""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any

_IMPORTING = threading.Lock()

_AT_ONCE = ("AutoConfig", "AutoTokenizer", "AutoModelForSequenceClassification", "AutoModelForCausalLM")
"""Names for which the library imports parts of itself; they are looked up here, with the same delay."""


def transformers(module: str = "") -> Any:
    """The library, or a module in it. Any thread may ask first.

    While it is imported the library replaces itself in ``sys.modules``. A thread that imports it at the same time waits
    for the first one, and is then given what was replaced, which has none of the library's names.

    Args:
        module: dotted path in the library; empty for the library itself.
    """
    name = ".".join(filter(None, ("transformers", module)))
    with _IMPORTING:
        importlib.import_module(name)
        for part in _AT_ONCE:
            getattr(sys.modules["transformers"], part)
        return sys.modules[name]
