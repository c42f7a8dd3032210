"""Answers to 46 experiments and 10 tables of judged results have the numbers that they had before results were one
table. ``python -m tests.same_numbers.test_same_answers`` writes them, where something differs on purpose.
"""

from __future__ import annotations

import json
import lzma
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.same_numbers.answers import answers_of
from tests.same_numbers.golden import changed
from tests.same_numbers.homes import copy_of

EXPECTED = Path(__file__).parents[1] / "answers_home" / "expected.json.xz"
ROUNDING = 1e-9
"""Relative difference of two numbers: another processor adds in another order."""


def answers(folder: Path) -> dict[str, Any]:
    """The answers of a copy of the home folder, as JSON."""
    found: dict[str, Any] = json.loads(json.dumps(answers_of(copy_of("answers_home", folder)), default=asdict))
    return found


def test_every_answer_is_as_it_was(tmp_path: Path) -> None:
    before, now = json.loads(lzma.decompress(EXPECTED.read_bytes())), answers(tmp_path)
    assert len(before["found"]) == 56
    assert now["found"].keys() == before["found"].keys()
    assert now["offered"] == before["offered"]
    for id, was in before["found"].items():
        differences = changed(was, now["found"][id], ROUNDING)
        assert not differences, f"{was['name']}\n{differences}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        new = answers(Path(scratch))
    if EXPECTED.exists():
        print(changed(json.loads(lzma.decompress(EXPECTED.read_bytes())), new), file=sys.stderr)
    text = json.dumps(new, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    EXPECTED.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
