"""Tasks of passages: as tokens of the network that continues them, with the tokens that are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import LANGUAGE, Dataset, LanguageDataset, TextDataset
from core.data.examples import LanguageExamples, Task
from core.data.passage import Passage
from core.data.task_spec import TaskSpec
from core.errors import DatasetError
from core.reader.chat_template import rendered
from core.tasks.views.text import outline_of_texts
from core.tasks.views.view import TOPICS, FormField, Outline, Preview, TextTokenizer, shots_field

MAX_LENGTH = 8192
"""Tokens up to which a passage is looked at before it is cut."""


class LanguageView:
    """Makes tasks of passages, and of texts, which are scored as a whole; see :class:`core.tasks.views.view.View`."""

    kind = LANGUAGE
    reads = "texts"
    inputs: Mapping[str, tuple[int, ...]] = {"input_ids": (), "attention_mask": (), "scored": ()}
    fields: Sequence[FormField] = (
        FormField("classes", "classes", title="Topics kept"),
        FormField("length", "choice", (64, 128, 256, 512, 1024), limit="longest_input"),
        replace(shots_field("texts"), title="Shots per topic", help="Training texts per topic."),
        FormField("validation", "share"),
    )

    def outline(self, spec: TaskSpec, dataset: Dataset) -> Outline:
        """Choose a task's passages. Raises: DatasetError: see :func:`core.tasks.views.text.outline_of_texts`."""
        return outline_of_texts(spec, dataset, TOPICS)

    def task(self, spec: TaskSpec, dataset: Dataset, tokenizer: TextTokenizer | None = None) -> Task:
        """Make a task from a dataset. The same spec, dataset and tokenizer give the same task, bit for bit.

        Args:
            spec: topics, shots, validation part and maximum length.
            dataset: the one that ``spec`` names.
            tokenizer: of the network that learns it.

        Returns:
            The task on the CPU, passages in the dataset's order, without classes.

        Raises:
            DatasetError: see :meth:`core.tasks.views.text.TextView.task`; or nothing of a part is scored.
        """
        if not isinstance(dataset, LanguageDataset | TextDataset):
            raise DatasetError(f"{dataset.name} has no texts: choose a dataset of texts.")
        if tokenizer is None:
            raise DatasetError(f"{dataset.name} consists of texts: choose a network that continues texts.")
        chosen = self.outline(spec, dataset)
        known: Sequence[Passage | str] = dataset.train_texts
        return Task(
            spec=spec,
            classes=(),
            class_names=(),
            train=_examples(known, chosen.train, tokenizer, spec),
            validation=_examples(known, chosen.validation, tokenizer, spec),
            test=_examples(dataset.test_texts, chosen.test, tokenizer, spec),
        )


def _examples(
    texts: Sequence[Passage | str], rows: NDArray[np.intp], tokenizer: TextTokenizer, spec: TaskSpec
) -> LanguageExamples:
    """Some passages of a dataset as the tokens of a network."""
    chosen = [texts[row] for row in rows]
    passages = [Passage.whole(each) if isinstance(each, str) else each for each in chosen]
    found = scored_examples(in_parts(passages, tokenizer, spec.dataset), tokenizer, spec.length)
    if not found.scored.any():
        raise DatasetError(
            f"Nothing of {spec.dataset} is left to score in texts of {spec.length} tokens: choose a longer input, or a "
            "network whose tokens stand for more characters."
        )
    return found


def in_parts(passages: Sequence[Passage], tokenizer: TextTokenizer, dataset: str) -> list[Passage]:
    """The same passages, conversations as the parts that a network's chat template makes of them.

    Args:
        passages: some of a dataset.
        tokenizer: of the network.
        dataset: name of the dataset.

    Raises:
        DatasetError: there are conversations, and no chat template.
        NetworkFileError: the template cannot be used; see :func:`core.reader.chat_template.rendered`.
    """
    chats = tuple((passage.messages, passage.all_scored) for passage in passages if passage.messages)
    if not chats:
        return list(passages)
    if not tokenizer.template:
        raise DatasetError(
            f"{dataset} has conversations, and this network has no chat template: choose a network that was trained "
            "to chat."
        )
    parts = iter(rendered(tokenizer.template, chats, dict(tokenizer.special)))
    return [replace(passage, parts=next(parts)) if passage.messages else passage for passage in passages]


def scored_examples(passages: Sequence[Passage], tokenizer: TextTokenizer, length: int) -> LanguageExamples:
    """Passages as tokens, with those that are scored and the bytes that these stand for.

    A token is scored if any of its text is in a scored part, and if another token stands before it. A text that is not
    cut gets the token that ends texts, scored if its last part is, unless the text ends with it, white space aside;
    one from a chat template has its own marks.

    Args:
        passages: at least one.
        tokenizer: of the network.
        length: maximum number of tokens, those that begin and end texts included; what goes beyond is cut off.
    """
    read = tokenizer.spans([passage.text for passage in passages])
    ids, flags, sizes, mark = [], [], [], tokenizer.special.get("eos_token", "")
    for passage, found in zip(passages, read, strict=True):
        prefix = () if tuple(found.ids[: len(tokenizer.prefix)]) == tokenizer.prefix else tokenizer.prefix
        kept = min(len(found.ids), max(length - len(prefix), 0))
        has_room = kept == len(found.ids) and len(prefix) + kept < length
        has_end = passage.messages or (mark and passage.text.rstrip().endswith(mark))
        end = [] if tokenizer.end is None or not has_room or has_end else [tokenizer.end]
        spans = _scored_spans(passage)
        own = [
            any(start < to and max(end, start + 1) > begin for begin, to in spans)
            for start, end in zip(found.starts[:kept], found.ends[:kept], strict=True)
        ]
        first = 0
        if not prefix and own:
            own[0], first = False, found.ends[0]
        last = len(passage.text.encode()) if kept == len(found.ids) else found.size_of(kept)
        sizes.append(sum(max(min(to, last) - max(begin, first), 0) for begin, to in spans))
        is_closed = bool(prefix or kept) and passage.parts[-1][1]
        ids.append([*prefix, *found.ids[:kept], *end] or [tokenizer.padding])
        flags.append([*[False] * len(prefix), *own, *[is_closed] * len(end)] or [False])
    return LanguageExamples.of_passages(ids, flags, sizes, tokenizer.padding)


PassagePreview = Preview[tuple[tuple[str, ...], tuple[bool, ...]]]
"""Of the first passages each token as text, and whether it is scored; those behind the length are cut off."""


def passage_preview(spec: TaskSpec, dataset: Dataset, tokenizer: TextTokenizer, batch: int) -> PassagePreview:
    """The first ``batch`` training passages as the network will read them, and the lengths of all.

    Raises:
        DatasetError: see :meth:`LanguageView.task`.
    """
    if not isinstance(dataset, LanguageDataset | TextDataset):
        raise DatasetError(f"{dataset.name} has no texts: choose a dataset of texts.")
    chosen = LanguageView().outline(spec, dataset).train
    whole = _examples(dataset.train_texts, chosen, tokenizer, spec.but(length=MAX_LENGTH))
    rows = []
    for start, end in list(pairwise(whole.offsets.tolist()))[:batch]:
        words = tokenizer.words(whole.tokens[start:end].tolist())
        rows.append((tuple(words), tuple(whole.scored[start:end].tolist())))
    lengths = whole.lengths.numpy()
    unknown = 0 if tokenizer.unknown is None else int((whole.tokens == tokenizer.unknown).sum())
    return PassagePreview(tuple(rows), lengths, spec.length, unknown / max(int(lengths.sum()), 1))


def _scored_spans(passage: Passage) -> list[tuple[int, int]]:
    """First byte of each scored part, and the one behind its last."""
    found, place = [], 0
    for text, scored in passage.parts:
        size = len(text.encode())
        if scored and size:
            found.append((place, place + size))
        place += size
    return found
