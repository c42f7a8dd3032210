"""Requests that are as large as a request may be and cost as much as can be, and what it costs to read them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from core.data.uploads.limits import MAX_TEXT
from core.errors import ServingError
from core.memory import Growth
from core.serving.request import MAX_BYTES, MAX_INPUTS, MAX_ROWS, SHAPE, parse

TIMES = 3
"""How often the time is measured if it is too long: another process may have slowed this one down."""

SECONDS = 0.5
"""Maximum CPU time to read a request."""

MEMORY = 100e6
"""Maximum number of bytes to read a request, besides those of the request itself."""


@dataclass(frozen=True)
class Body:
    """A request that consists mostly of one part, as often as it fits."""

    start: bytes
    part: bytes
    end: bytes
    error: str

    def content(self) -> bytes:
        return self.start + self.part * ((MAX_BYTES - len(self.start) - len(self.end)) // len(self.part)) + self.end


INVALID = "The request is not valid JSON."
INFINITE = "is wrong: input should be a finite number."
OBJECT, NUMBER = f"is wrong: input should be an object; {SHAPE}.", "is wrong: input should be a valid number."
ROWS = f"rows is wrong: list should have at most {MAX_ROWS} items."
PIXELS = f"rows[0].pixels is wrong: list should have at most {MAX_INPUTS} items."
BASE = "base is wrong: string should have at least 1 character."
TYPE = "rows[0].text is wrong: input should be a valid string."
TEXT = f"rows[0].text is wrong: string should have at most {MAX_TEXT} characters."
UNKNOWN = f"is wrong: extra inputs are not permitted; {SHAPE}."
LONG = f"rows[0].{'a' * 112} {UNKNOWN}"

ATTACKS = {
    "lists as rows": Body(b'{"rows":[', b"[],", b"[]]}", f"rows[0] {OBJECT}"),
    "empty rows": Body(b'{"rows":[', b"{},", b"{}]}", ROWS),
    "rows of a text": Body(b'{"rows":[', b'{"text":""},', b"{}]}", ROWS),
    "numbers as rows": Body(b'{"rows":[', b"0,", b"0]}", f"rows[0] {OBJECT}"),
    "pixels": Body(b'{"rows":[{"pixels":[', b"0,", b"0]}]}", PIXELS),
    "infinite pixels": Body(b'{"rows":[{"pixels":[', b"1e999,", b"0]}]}", f"rows[0].pixels[0] {INFINITE}"),
    "commas as pixels": Body(b'{"rows":[{"pixels":[', b",", b"0]}]}", INVALID),
    "objects as pixels": Body(b'{"rows":[{"pixels":[', b"{},", b"0]}]}", f"rows[0].pixels[0] {NUMBER}"),
    "lists as pixels": Body(b'{"rows":[{"pixels":[', b"[],", b"0]}]}", f"rows[0].pixels[0] {NUMBER}"),
    "strings as pixels": Body(b'{"rows":[{"pixels":[', b'"",', b"0]}]}", f"rows[0].pixels[0] {NUMBER}"),
    "a string as pixel": Body(b'{"rows":[{"pixels":["', b"a", '😀"]}]}'.encode(), f"rows[0].pixels[0] {NUMBER}"),
    "digits": Body(b'{"rows":[{"pixels":[', b"1", b"]}]}", f"rows[0].pixels[0] {INFINITE}"),
    "nested lists": Body(b"", b"[", b"", f"The request {OBJECT}"),
    "nested rows": Body(b'{"rows":', b"[", b"", f"rows[0] {OBJECT}"),
    "nested pixels": Body(b'{"rows":[{"pixels":', b"[", b"", f"rows[0].pixels[0] {NUMBER}"),
    "nested objects": Body(b"", b'{"rows":', b"", f"rows is wrong: input should be a valid array; {SHAPE}."),
    "keys": Body(b"{", b'"x":0,', b'"x":0}', f"x {UNKNOWN}"),
    "keys of a row": Body(b'{"rows":[{', b'"":0,', b'"":0}]}', f"rows[0]. {UNKNOWN}"),
    "lists of an unknown field": Body(b'{"x":[', b"[],", b"[]]}", f"x {UNKNOWN}"),
    "a long key": Body(b'{"rows":[{"', b"a", '😀":0}]}'.encode(), LONG),
    "a long key with escapes": Body(b'{"rows":[{"' + b"a" * 112, rb"\"", rb'\ud83d\ude00":0}]}', LONG),
    "a key without an end": Body(b'{"rows":[{"', rb"\"", b"", INVALID),
    "the same field again": Body(b'{"rows":[{', b'"text":"",', b'"text":3}]}', TYPE),
    "rows again": Body(
        b"{",
        b'"rows":[' + b"{}," * 999 + b"{}],",
        b'"base":""}',
        BASE,
    ),
    "pixels again": Body(b'{"rows":[{', b'"pixels":[0],', b'"text":3}]}', TYPE),
    "a long text": Body(b'{"rows":[{"text":"', b"a", '😀"}]}'.encode(), TEXT),
    "a long text of escapes": Body(b'{"rows":[{"text":"', rb"\n", b'"}]}', TEXT),
    "bytes that are no UTF-8": Body(b'{"rows":[{"text":"', b"\xff", b'"}]}', INVALID),
    "zeros": Body(b"", b"\0", b"", INVALID),
    "spaces": Body(b'{"rows":', b" ", b"", INVALID),
}
"""By name, with what a person reads."""


def measured(content: bytes) -> dict[str, Any]:
    """What it costs to read a request."""
    error = ""
    growth = Growth()
    start = time.process_time()
    try:
        parse(content)
    except ServingError as raised:
        error = str(raised)
    seconds = time.process_time() - start
    growth.sample()
    return {"error": error, "seconds": seconds, "memory": growth.peak}


def largest() -> bytes:
    """As many pixels as a request may have."""
    row = b'{"pixels":[%s]}' % b",".join([b"0.12"] * MAX_INPUTS)
    return b'{"rows":[%s]}' % b",".join([row] * (MAX_BYTES // len(row) - 1))


def main() -> None:
    found = {}
    parse(b'{"rows":[{"pixels":[0.5],"text":""}]}')
    for name, body in [*ATTACKS.items(), ("largest", None)]:
        content = body.content() if body else largest()
        costs = [measured(content)]
        while costs[-1]["seconds"] > SECONDS and len(costs) < TIMES:
            costs.append(measured(content))
        found[name] = costs[0] | {"seconds": min(cost["seconds"] for cost in costs)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
