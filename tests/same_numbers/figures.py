"""Plotly figures as plain JSON, in which every number can be read."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import numpy as np

KEY = re.compile(r"\b(?=[0-9]*[a-f])[0-9a-f]{12}\b")
"""The key of an arm: a digest of its spec, which is another one as soon as specs have another field."""


def unpacked(value: Any) -> Any:
    """A part of a figure, with the arrays that Plotly packs as bytes in base64 as lists, and without keys of arms."""
    if isinstance(value, str):
        return unpacked(json.loads(value)) if value.startswith('{"') else KEY.sub("ARM", value)
    if isinstance(value, dict):
        if "bdata" in value:
            array = np.frombuffer(base64.b64decode(value["bdata"]), np.dtype(value["dtype"]))
            shape = value.get("shape")
            return (array.reshape([int(n) for n in str(shape).split(",")]) if shape else array).tolist()
        return {KEY.sub("ARM", name): unpacked(part) for name, part in value.items()}
    return [unpacked(part) for part in value] if isinstance(value, list) else value
