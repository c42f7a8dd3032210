"""The kinds of datasets that can be uploaded: images, labelled texts and passages, as arrays of their files."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from core.data.dataset import LANGUAGE, SIDE, Dataset, ImageDataset, LanguageDataset, Targets, TextDataset
from core.data.passage import Passage
from core.data.sources.own import ENDING, About, Arrays, OwnDatasets, check_array
from core.errors import DatasetError


class OwnImages(OwnDatasets):
    """Images of 28×28 pixels, one byte per pixel."""

    kind = "image"
    format = "lora-lab-dataset-1"
    ending = ENDING
    what = "images"
    form = ", 28×28 gray"

    def packed(self, dataset: Dataset) -> Arrays:
        if not isinstance(dataset, ImageDataset):
            raise DatasetError("Only datasets of images can be saved here.")
        return {"train_images": dataset.train_images, "test_images": dataset.test_images}

    def unpacked(
        self, name: str, about: About, arrays: Arrays, train_labels: Targets, test_labels: Targets
    ) -> ImageDataset:
        train, test = arrays.pop("train_images"), arrays.pop("test_images")
        for images, labels in ((train, train_labels), (test, test_labels)):
            check_array(images, np.uint8, len(labels), SIDE, SIDE)
        return ImageDataset(name, train, train_labels, test, test_labels, about.class_names, about.objective)


class OwnTexts(OwnDatasets):
    """Texts in UTF-8, one after the other, and where each ends."""

    kind = "text"
    format = "lora-lab-texts-1"
    ending = f".texts{ENDING}"
    what = "texts"

    def packed(self, dataset: Dataset) -> Arrays:
        if not isinstance(dataset, TextDataset):
            raise DatasetError("Only datasets of texts can be saved here.")
        return _packed("train", dataset.train_texts) | _packed("test", dataset.test_texts)

    def unpacked(
        self, name: str, about: About, arrays: Arrays, train_labels: Targets, test_labels: Targets
    ) -> TextDataset:
        train, test = _unpacked("train", arrays), _unpacked("test", arrays)
        if (len(train), len(test)) != (len(train_labels), len(test_labels)) or not all((*train, *test)):
            raise ValueError("a text is missing")
        more = about.class_names, about.objective, about.columns
        return TextDataset(name, train, train_labels, test, test_labels, *more)


ROLES = ("system", "user", "assistant")

SCORED, MESSAGE, ALL = 1, 2, 3
"""What the kind of a piece says: 0 and 1 are texts that are not scored and that are; from 2 on messages of each role,
and from 5 on messages that are all scored."""


class OwnPassages(OwnDatasets):
    """Texts and messages in UTF-8, one after the other, what each is, and how many are a passage."""

    kind = LANGUAGE
    format = "lora-lab-passages-1"
    ending = f".passages{ENDING}"
    what = "passages"

    def targets(self, about: About) -> str:
        return f" on {len(about.class_names)} topics" if about.class_names else ""

    def packed(self, dataset: Dataset) -> Arrays:
        if not isinstance(dataset, LanguageDataset):
            raise DatasetError("Only datasets of passages can be saved here.")
        found: Arrays = {}
        for part, passages in (("train", dataset.train_texts), ("test", dataset.test_texts)):
            pieces = [_pieces(passage) for passage in passages]
            found |= _packed(part, [text for each in pieces for _, text in each])
            found[f"{part}_kinds"] = np.array([kind for each in pieces for kind, _ in each], np.uint8)
            found[f"{part}_counts"] = np.array([len(each) for each in pieces], np.int64)
            if not dataset.class_names:  # without topics there is nothing to label, and such files have numbers
                found[f"{part}_labels"] = getattr(dataset, f"{part}_labels").astype(np.float32)
        return found

    def unpacked(
        self, name: str, about: About, arrays: Arrays, train_labels: Targets, test_labels: Targets
    ) -> LanguageDataset:
        train, test = train_labels.astype(np.int64), test_labels.astype(np.int64)
        for labels in (train, test):
            labels.flags.writeable = False
        passages = [_passages(part, arrays, len(labels)) for part, labels in (("train", train), ("test", test))]
        return LanguageDataset(name, passages[0], train, passages[1], test, about.class_names)


def _passages(part: str, arrays: Arrays, count: int) -> tuple[Passage, ...]:
    """The passages of a part. Raises: ValueError, LookupError: they are damaged, or not as many as ``count``."""
    texts, kinds, counts = _unpacked(part, arrays), arrays.pop(f"{part}_kinds"), arrays.pop(f"{part}_counts")
    check_array(kinds, np.uint8, len(texts))
    check_array(counts, np.int64, count)
    if counts.min() < 1 or counts.max() > len(texts) or counts.sum() != len(texts):
        raise ValueError("a piece is of no passage")
    pieces = list(zip(kinds.tolist(), texts, strict=True))
    return tuple(_passage(pieces[start:end]) for start, end in pairwise([0, *counts.cumsum().tolist()]))


def _pieces(passage: Passage) -> list[tuple[int, str]]:
    """What a passage is made of: the kind and the text of each piece."""
    parts = [(SCORED if is_scored else 0, text) for text, is_scored in passage.parts]
    scored = ALL if passage.all_scored else 0
    return parts + [(MESSAGE + ROLES.index(role) + scored, text) for role, text in passage.messages]


def _passage(pieces: Sequence[tuple[int, str]]) -> Passage:
    """The passage of some pieces. Raises: ValueError: they are not of one."""
    forms = {0 if kind < MESSAGE else 1 + (kind - MESSAGE) // ALL for kind, _ in pieces}
    if len(forms) > 1 or not forms <= {0, 1, 2}:
        raise ValueError("pieces are not of one passage")
    if 0 in forms:
        passage = Passage(tuple((text, kind == SCORED) for kind, text in pieces))
    else:
        messages = tuple((ROLES[(kind - MESSAGE) % ALL], text) for kind, text in pieces)
        passage = Passage(messages=messages, all_scored=2 in forms)
    if not any(is_scored for _, is_scored in passage.pieces):
        raise ValueError("nothing of a passage is scored")
    return passage


def _packed(part: str, texts: Sequence[str]) -> Arrays:
    encoded = [text.encode() for text in texts]
    return {
        f"{part}_texts": np.frombuffer(b"".join(encoded), np.uint8),
        f"{part}_ends": np.cumsum([len(text) for text in encoded], dtype=np.int64),
    }


def _unpacked(part: str, arrays: Arrays) -> tuple[str, ...]:
    """The texts of a part, whose arrays are taken out. Raises: ValueError, LookupError: they are damaged."""
    texts, ends = arrays.pop(f"{part}_texts"), arrays.pop(f"{part}_ends")
    check_array(texts, np.uint8, texts.size)
    check_array(ends, np.int64, ends.size)
    content, places = texts.tobytes(), [0, *ends.tolist()]
    if places[-1] != len(content) or any(start > end for start, end in pairwise(places)):
        raise ValueError("texts overlap")
    return tuple(content[start:end].decode() for start, end in pairwise(places))
