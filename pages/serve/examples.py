"""Requests for predictions, as code to copy."""

from __future__ import annotations

import json
from collections.abc import Sequence

from core.web.predict import PREDICT

TEXT = "a round fruit with red or green skin"
"""A text to ask about."""


def curl(address: str, adapters: Sequence[str], reads: str = "image") -> str:
    """A request as a command.

    Args:
        address: of the server.
        adapters: names, one per row.
        reads: what the rows are, image or text.
    """
    if reads == "text":
        body = json.dumps({"rows": [{"adapter": name, "text": TEXT} for name in adapters]})
        return f"curl {address}{PREDICT} -H 'content-type: application/json' -d '{body}'"
    rows = ", ".join(f'{{"adapter": {json.dumps(name)}, "pixels": [\'"$P"\']}}' for name in adapters)
    return (
        "# 784 pixels from 0 to 1, here all 0.5\n"
        'P=$(python3 -c \'print(", ".join(["0.5"] * 784))\')\n'
        f"curl {address}{PREDICT} -H 'content-type: application/json' -d '{{\"rows\": [{rows}]}}'"
    )


def python(address: str, adapters: Sequence[str], reads: str = "image") -> str:
    """A request in Python's standard library. Args: as in :func:`curl`."""
    given, key = ("[0.5] * 784  # from 0 to 1, row by row, preprocessed as in training", "pixels")
    if reads == "text":
        given, key = json.dumps(TEXT), "text"
    return f'''\
import json
from urllib.request import Request, urlopen

{key} = {given}
rows = [{{"adapter": name, "{key}": {key}}} for name in {json.dumps(list(adapters))}]
request = Request("{address}{PREDICT}", json.dumps({{"rows": rows}}).encode(), {{"content-type": "application/json"}})
for prediction in json.load(urlopen(request))["predictions"]:
    print(prediction["name"], max(prediction["probabilities"]))
'''
