"""Requests for predictions, as code to copy.

All send the token that the environment variable LORA_LAB_TOKEN has, as the server's own does; a server without one does
not look at it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from core.web.predict import PREDICT

TEXT = "a round fruit with red or green skin"
"""A text to ask about."""

CURL_HEADERS = "-H 'content-type: application/json' -H \"authorization: Bearer $LORA_LAB_TOKEN\""


def curl(address: str, adapters: Sequence[str | None], reads: str = "image", base: str | None = None) -> str:
    """A request as a command.

    Args:
        address: of the server.
        adapters: names, one per row; None for the base alone.
        reads: what the rows are, image or text.
        base: named beside the rows, where no row has an adapter.
    """
    value = json.dumps(TEXT) if reads == "text" else "['\"$P\"']"
    key = "text" if reads == "text" else "pixels"
    named = ["" if name is None else f'"adapter": {json.dumps(name)}, ' for name in adapters]
    rows = ", ".join(f'{{{adapter}"{key}": {value}}}' for adapter in named)
    beside = "" if base is None else f'"base": {json.dumps(base)}, '
    request = f"curl {address}{PREDICT} {CURL_HEADERS} -d '{{{beside}\"rows\": [{rows}]}}'"
    if reads == "text":
        return request
    pixels = 'P=$(python3 -c \'print(", ".join(["0.5"] * 784))\')'
    return f"# 784 pixels from 0 to 1, here all 0.5\n{pixels}\n{request}"


def python(address: str, adapters: Sequence[str | None], reads: str = "image", base: str | None = None) -> str:
    """A request in Python's standard library. Args: as in :func:`curl`."""
    given, key = ("[0.5] * 784  # from 0 to 1, row by row, preprocessed as in training", "pixels")
    if reads == "text":
        given, key = json.dumps(TEXT), "text"
    row, body = (f'{{"adapter": name, "{key}": {key}}}', '{"rows": rows}')
    names = json.dumps(list(adapters))
    rows = f"[{row} for name in {names}]"
    if base is not None:
        rows, body = f'[{{"{key}": {key}}}] * {len(adapters)}', f'{{"base": {json.dumps(base)}, "rows": rows}}'
    return f'''\
import json
import os
from urllib.request import Request, urlopen

{key} = {given}
rows = {rows}
token = os.environ.get("LORA_LAB_TOKEN", "")
headers = {{"content-type": "application/json", "authorization": f"Bearer {{token}}"}}
request = Request("{address}{PREDICT}", json.dumps({body}).encode(), headers)
for prediction in json.load(urlopen(request))["predictions"]:
    print(prediction["name"], max(prediction["probabilities"]))
'''
