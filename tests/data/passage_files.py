"""Files of passages that people might upload, in every form and format."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from core.data.dataset import LanguageDataset
from core.data.passage import Passage
from core.data.uploads.passage_forms import ALPACA, PAIRED
from tests.data.text_files import WRITERS, parquet

QUESTIONS = [(f"What is {n} plus {n}? ", f"{2 * n}, — ünïcode 😀.") for n in range(20)]

FORMATS: dict[str, Callable[[Sequence[Mapping[str, Any]]], bytes]] = {
    "jsonl": lambda rows: "\n".join(json.dumps(row) for row in rows).encode(),
    "one list": lambda rows: json.dumps(rows, ensure_ascii=False, indent=1).encode(),
    "parquet": lambda rows: parquet({name: [row.get(name) for row in rows] for name in rows[0]}),
    **{
        kind: lambda rows, kind=kind: WRITERS[kind]([tuple(row.values()) for row in rows], list(rows[0]))
        for kind in ("csv", "semicolons", "quoted")
    },
}
"""Write rows, each a value by the name of its column."""


def chat(*said: str, system: str = "") -> list[dict[str, str]]:
    """Messages of a user and an assistant in turn."""
    turns = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(said)]
    return [{"role": "system", "content": system}, *turns] if system else turns


def shared_gpt(*said: str) -> list[dict[str, str]]:
    """The same as ShareGPT has them."""
    return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(said)]


def conversation(*messages: dict[str, str]) -> Passage:
    """What such messages are read as."""
    return Passage(messages=tuple((each["role"], each["content"]) for each in messages))


def dataset_of(*passages: Passage) -> LanguageDataset:
    """A dataset that has the same passages in both parts."""
    zeros = np.zeros(len(passages), np.int64)
    return LanguageDataset("mine", passages, zeros, passages, zeros)


ROWS: dict[str, list[dict[str, Any]]] = {
    "texts": [{"id": n, "text": f"{q}{a}"} for n, (q, a) in enumerate(QUESTIONS)],
    "prompts": [{"prompt": q, "completion": a} for q, a in QUESTIONS],
    "questions": [{"id": str(n), "question": q, "answer": a} for n, (q, a) in enumerate(QUESTIONS)],
    "instructions": [
        {"instruction": q, "input": "" if n % 2 else "In words.", "output": a} for n, (q, a) in enumerate(QUESTIONS)
    ],
    "messages": [{"messages": chat(q, a, "Sure?", "Yes.", system="Be brief.")} for q, a in QUESTIONS],
    "conversations": [{"id": n, "conversations": shared_gpt(q, a)} for n, (q, a) in enumerate(QUESTIONS)],
}
"""Sound rows of every form."""

PASSAGES: dict[str, list[Passage]] = {
    "texts": [Passage.whole(f"{q}{a}") for q, a in QUESTIONS],
    "prompts": [Passage.prompted(q, a) for q, a in QUESTIONS],
    "questions": [Passage.prompted(q, a) for q, a in QUESTIONS],
    "instructions": [
        Passage.prompted(
            ALPACA.format(
                paired="" if n % 2 else PAIRED, instruction=q, input="" if n % 2 else "\n\n### Input:\nIn words."
            ),
            a,
        )
        for n, (q, a) in enumerate(QUESTIONS)
    ],
    "messages": [conversation(*chat(q, a, "Sure?", "Yes.", system="Be brief.")) for q, a in QUESTIONS],
    "conversations": [conversation(*chat(q, a)) for q, a in QUESTIONS],
}
"""What they are read as, in their order."""

NESTED = ("messages", "conversations")
"""Those with lists in their rows, which tables have as JSON."""


def written(rows: str, format_: str) -> bytes:
    """A sound file. Args: rows: of :data:`ROWS`; format_: of :data:`FORMATS`."""
    found: Sequence[Mapping[str, Any]] = ROWS[rows]
    if rows in NESTED and format_ not in ("jsonl", "one list", "parquet"):
        found = [{name: json.dumps(v) if isinstance(v, list) else v for name, v in row.items()} for row in found]
        if len(found[0]) == 1:
            found = [{"n": n, **row} for n, row in enumerate(found)]
    return FORMATS[format_](found)
