"""Requests for predictions, as code to copy.

All send the token that the environment variable LORA_LAB_TOKEN has, as the server's own does; a server without one does
not look at it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.data.dataset import LANGUAGE
from core.web.predict import PREDICT

TEXT = "a round fruit with red or green skin"
"""A text to ask about where there is no better one."""

CLASS = 'print(prediction["name"], max(prediction["probabilities"]))'
NUMBER = 'print(prediction["number"])'
SCORE = """print(prediction["bits_per_byte"])
    for each in prediction["tokens"]:
        print(each["bits"], each["token"])"""
"""What a program does with an answer."""

CURL_HEADERS = "-H 'content-type: application/json' -H \"authorization: Bearer $LORA_LAB_TOKEN\""


@dataclass(frozen=True)
class Example:
    """What a row has, in both languages."""

    key: str
    """Field of a row."""
    json: str = ""
    """Its value within the single quotes of a command, unless that is a text."""
    python: str = ""
    """Its value in Python, unless that is a text."""
    before: str = ""
    """Lines before the command."""
    printed: str = CLASS
    """What a program does with an answer, unless that is a number."""


EXAMPLES: Mapping[str, Example] = {
    "image": Example(
        "pixels",
        "['\"$P\"']",
        "[0.5] * 784  # from 0 to 1, row by row, preprocessed as in training",
        '# 784 pixels from 0 to 1, here all 0.5\nP=$(python3 -c \'print(", ".join(["0.5"] * 784))\')\n',
    ),
    "text": Example("text"),
    LANGUAGE: Example("text", printed=SCORE),
}
"""By kind of data."""


def _written(text: str) -> str:
    """A text in JSON within single quotes and in Python alike."""
    return json.dumps(text, ensure_ascii=False).replace("'", "\\u0027")


def curl(
    address: str,
    adapters: Sequence[str | None],
    reads: str = "image",
    base: str | None = None,
    has_classes: bool = True,
    text: str = TEXT,
    prompt: str = "",
) -> str:
    """A request as a command.

    Args:
        address: of the server.
        adapters: names, one per row; None for the base alone.
        reads: the kind of data that the rows are.
        base: named beside the rows, where no row has an adapter.
        has_classes: whether the answers are classes, not numbers.
        text: to ask about, where the rows are texts.
        prompt: what stands before it and is not scored.
    """
    example = EXAMPLES[reads]
    named = ["" if name is None else f'"adapter": {json.dumps(name)}, ' for name in adapters]
    before = f'"prompt": {_written(prompt)}, ' if prompt else ""
    value = f'{before}"{example.key}": {example.json or _written(text)}'
    rows = ", ".join(f"{{{adapter}{value}}}" for adapter in named)
    beside = "" if base is None else f'"base": {json.dumps(base)}, '
    return f"{example.before}curl {address}{PREDICT} {CURL_HEADERS} -d '{{{beside}\"rows\": [{rows}]}}'"


def python(
    address: str,
    adapters: Sequence[str | None],
    reads: str = "image",
    base: str | None = None,
    has_classes: bool = True,
    text: str = TEXT,
    prompt: str = "",
) -> str:
    """A request in Python's standard library. Args: as in :func:`curl`."""
    key = EXAMPLES[reads].key
    printed = EXAMPLES[reads].printed if has_classes or reads == LANGUAGE else NUMBER
    before, own = (
        (f"prompt = {_written(prompt)}\n", f'"prompt": prompt, "{key}": {key}') if prompt else ("", f'"{key}": {key}')
    )
    row, body = (f'{{"adapter": name, {own}}}', '{"rows": rows}')
    names = f"[{', '.join('None' if name is None else json.dumps(name) for name in adapters)}]"
    rows = f"[{row} for name in {names}]"
    if base is not None:
        rows, body = f"[{{{own}}}] * {len(adapters)}", f'{{"base": {json.dumps(base)}, "rows": rows}}'
    return f'''\
import json
import os
from urllib.request import Request, urlopen

{before}{key} = {EXAMPLES[reads].python or _written(text)}
rows = {rows}
token = os.environ.get("LORA_LAB_TOKEN", "")
headers = {{"content-type": "application/json", "authorization": f"Bearer {{token}}"}}
request = Request("{address}{PREDICT}", json.dumps({body}).encode(), headers)
for prediction in json.load(urlopen(request))["predictions"]:
    {printed}
'''
