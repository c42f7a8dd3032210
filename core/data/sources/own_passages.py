"""Uploaded datasets of passages, for language models."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from core.data.dataset import LANGUAGE, Dataset, LanguageDataset
from core.data.passage import Passage
from core.data.sources.own import ENDING, OwnDatasets
from core.data.sources.own_file import Arrays, FileFormat, Header, Shapes, damaged
from core.errors import DatasetError

ROLES = ("system", "user", "assistant")

SCORED, MESSAGE, ALL = 1, 2, 3
"""What the kind of a piece says: 0 and 1 are texts that are not scored and that are; from 2 on messages of each role,
and from 5 on messages that are all scored."""


def _part(shapes: Shapes, part: str, count: int) -> Shapes:
    size, pieces = shapes[f"{part}_texts"][1][0], shapes[f"{part}_ends"][1][0]
    return {
        f"{part}_texts": ("U8", (size,)),
        f"{part}_ends": ("I64", (pieces,)),
        f"{part}_kinds": ("U8", (pieces,)),
        f"{part}_counts": ("I64", (count,)),
    }


class OwnPassages(OwnDatasets):
    """Texts and messages in UTF-8, one after the other, where each ends, what it is, and how many are a passage."""

    kind = LANGUAGE
    ending = f".passages{ENDING}"
    what = "passages"
    format = FileFormat("lora-lab-passages-1", _part)

    def targets(self, header: Header) -> str:
        return f" on {len(header.class_names)} topics" if header.class_names else ""

    def arrays(self, dataset: Dataset) -> Arrays:
        if not isinstance(dataset, LanguageDataset):
            raise DatasetError("Only datasets of passages can be saved here.")
        # Without topics there is nothing to label, and files without classes have numbers.
        kind = np.int64 if dataset.class_names else np.float32
        return {
            **_packed("train", dataset.train_texts),
            "train_labels": dataset.train_labels.astype(kind),
            **_packed("test", dataset.test_texts),
            "test_labels": dataset.test_labels.astype(kind),
        }

    def dataset(self, name: str, header: Header, arrays: Arrays) -> LanguageDataset:
        labels = [arrays[f"{part}_labels"].astype(np.int64) for part in ("train", "test")]
        for array in labels:
            array.flags.writeable = False
        return LanguageDataset(
            name,
            _unpacked(name, "train", arrays),
            labels[0],
            _unpacked(name, "test", arrays),
            labels[1],
            header.class_names,
        )


def _packed(part: str, passages: Sequence[Passage]) -> Arrays:
    pieces: list[bytes] = []
    kinds: list[int] = []
    counts: list[int] = []
    for passage in passages:
        for text, is_scored in passage.parts:
            pieces.append(text.encode())
            kinds.append(SCORED if is_scored else 0)
        for role, content in passage.messages:
            pieces.append(content.encode())
            kinds.append(MESSAGE + ROLES.index(role) + (ALL if passage.all_scored else 0))
        counts.append(len(passage.parts) + len(passage.messages))
    return {
        f"{part}_texts": np.frombuffer(b"".join(pieces), np.uint8),
        f"{part}_ends": np.cumsum([len(piece) for piece in pieces], dtype=np.int64),
        f"{part}_kinds": np.array(kinds, np.uint8),
        f"{part}_counts": np.array(counts, np.int64),
    }


def _unpacked(name: str, part: str, arrays: Arrays) -> tuple[Passage, ...]:
    """The passages of a part. Raises: DatasetError: pieces overlap, are of no kind, or make no passage."""
    content, ends = arrays[f"{part}_texts"].tobytes(), [0, *arrays[f"{part}_ends"].tolist()]
    kinds, counts = arrays[f"{part}_kinds"].tolist(), arrays[f"{part}_counts"]
    if (
        ends[-1] != len(content)
        or any(start > end for start, end in pairwise(ends))
        or counts.min() < 1
        or counts.max() > len(kinds)
        or int(counts.sum()) != len(kinds)
        or max(kinds) >= MESSAGE + 2 * ALL
    ):
        raise damaged(name)
    try:
        texts = [content[start:end].decode() for start, end in pairwise(ends)]
    except UnicodeDecodeError as error:
        raise damaged(name) from error
    found = []
    for end, count in zip(counts.cumsum().tolist(), counts.tolist(), strict=True):
        pieces = list(zip(texts[end - count : end], kinds[end - count : end], strict=True))
        forms = {0 if kind < MESSAGE else 1 + (kind - MESSAGE) // ALL for _, kind in pieces}
        if len(forms) > 1:
            raise damaged(name)
        if 0 in forms:
            passage = Passage(tuple((text, kind == SCORED) for text, kind in pieces))
        else:
            messages = tuple((ROLES[(kind - MESSAGE) % ALL], text) for text, kind in pieces)
            passage = Passage(messages=messages, all_scored=2 in forms)
        if not any(is_scored for _, is_scored in passage.pieces):
            raise damaged(name)
        found.append(passage)
    return tuple(found)
