"""Golden files: what a version said, compressed, and the comparison of what this version says with it."""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import zip_longest
from math import isclose, isnan
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "golden"

OLD, MAIN = "165b471", "b9d1c89"
"""The commits that wrote them: the first one what programs read, the second one what people read."""

MAX_SHOWN = 40
"""Maximum number of lines that a failure shows."""

BEFORE = 60
"""Characters that are shown of two lines before the first one in which they differ."""


def path_of(home: str, commit: str) -> Path:
    """The golden file of a home folder."""
    return FOLDER / f"{home}-{commit}.json.xz"


def read(home: str, commit: str) -> dict[str, Any]:
    """What a commit said of a home folder."""
    content: dict[str, Any] = json.loads(lzma.decompress(path_of(home, commit).read_bytes()))
    return content


def write(home: str, commit: str, content: dict[str, Any]) -> None:
    """Write a golden file; the same content has the same bytes."""
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    path_of(home, commit).write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


def differences(golden: Any, now: Any, tolerance: float = 0.0, where: str = "") -> Iterator[str]:
    """Each place where a value is not the golden one, as a line. What is new in a dictionary is no difference.

    Args:
        golden: JSON.
        now: what is compared with it, also after a round trip through JSON.
        tolerance: relative difference of two numbers that counts as none.
        where: path of both.
    """
    if isinstance(golden, dict) and isinstance(now, dict):
        for key, value in golden.items():
            if key in now:
                yield from differences(value, now[key], tolerance, f"{where}.{key}")
            else:
                yield f"{where}.{key}: {_short(value)} is gone"
    elif isinstance(golden, list) and isinstance(now, list):
        if len(golden) != len(now):
            yield f"{where}: {len(golden)} values became {len(now)}"
        for number, (one, other) in enumerate(zip(golden, now, strict=False)):
            yield from differences(one, other, tolerance, f"{where}[{number}]")
    elif not _equal(golden, now, tolerance):
        yield f"{where}: {_short(golden)} became {_short(now)}"


def changed(golden: Any, now: Any, tolerance: float = 0.0) -> str:
    """The first differences of two values, a line each; empty if there are none."""
    found = list(differences(golden, json.loads(json.dumps(now)), tolerance))
    more = [f"and {len(found) - MAX_SHOWN} more"] if len(found) > MAX_SHOWN else []
    return "\n".join([*found[:MAX_SHOWN], *more])


def changed_lines(golden: list[str], now: list[str]) -> str:
    """The first differences of two texts, a changed line below what it was; empty if there are none.

    Of a number the first nine digits count: what another processor computes may differ after them.
    """
    found = []
    golden, now = ([_LONG.sub(_rounded, line) for line in lines] for lines in (golden, now))
    for what, first, last, begin, end in SequenceMatcher(None, golden, now, autojunk=False).get_opcodes():
        if what != "equal":
            found.append(f"line {first + 1}:")
            for one, other in zip_longest(golden[first:last], now[begin:end]):
                found += [
                    f"{sign} {line}" for sign, line in zip("-+", _cut(one, other), strict=True) if line is not None
                ]
    more = [f"and {len(found) - MAX_SHOWN} more lines"] if len(found) > MAX_SHOWN else []
    return "\n".join([*(_short(line) for line in found[:MAX_SHOWN]), *more])


_LONG = re.compile(r"-?\d+\.\d{10,}(e-?\d+)?")


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number.group()):.9g}"


def _cut(one: str | None, other: str | None) -> tuple[str | None, str | None]:
    """Two lines, from a little before the first character in which they differ."""
    same = next((n for n, (a, b) in enumerate(zip(one or "", other or "", strict=False)) if a != b), 0)
    if one is None or other is None or same <= BEFORE:
        return one, other
    return f"…{one[same - BEFORE :]}", f"…{other[same - BEFORE :]}"


def _equal(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (isnan(one) and isnan(other)) or isclose(one, other, rel_tol=tolerance)
    return type(one) is type(other) and bool(one == other)


def _short(value: Any, longest: int = 300) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"
