"""An uploaded dataset of passages, for a language model: checked and split, by topics if they have some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import Labels, LanguageDataset, overlap_sentence
from core.data.passage import SCORED_ROLE, Passage
from core.data.uploads.classes import (
    SPLIT_SEED,
    TEST_SHARE,
    Draft,
    Faults,
    check_classes,
    check_counts,
    found_text,
    lengths_text,
)
from core.data.uploads.limits import MAX_CLASSES, MAX_TEXT, MIN_CLASSES, MIN_PER_PART, MIN_TEST, MIN_TRAIN
from core.data.uploads.passage_forms import PassageColumns, cells_of, form_of
from core.data.uploads.text_columns import TextTable, listed, quoted
from core.data.uploads.text_draft import MISSING, given_for_testing, parts_of
from core.errors import DatasetError
from core.numbers import count_text

GLUED = 0.5
"""Share of prompts that end, and completions that begin, with a letter, from which on they are said to run together."""


TOPICS = ("topic", "topics", "category", "subject", "domain", "label", "class")
"""Usual names of columns of topics, in lower case."""

FEW = 2 * (MIN_TRAIN + MIN_TEST)
"""Rows of a topic, without a column of parts, below which it is not likely that somebody learns it by itself."""


class Row(NamedTuple):
    """A row of the table that can be used."""

    passage: Passage
    part: str
    """``train`` or ``test``."""
    topic: str
    """Empty without topics."""


def topic_columns(table: TextTable, columns: PassageColumns) -> list[str]:
    """The columns that may name topics: those of texts that passages and parts leave."""
    used = {*dict(columns.columns).values(), columns.part}
    return [name for name in table.columns if name not in used and name not in table.messages]


def likely_topic(table: TextTable, columns: PassageColumns) -> str | None:
    """The column with a usual name that gives each row one of a few topics, each with enough rows; None without one."""
    lower = {name.strip().lower(): name for name in reversed(topic_columns(table, columns))}
    fewest = MIN_TRAIN + MIN_TEST if columns.part else FEW
    for name in (lower[usual] for usual in TOPICS if usual in lower):
        counts = Counter(map(_topic, table.column(name)))
        if "" not in counts and MIN_CLASSES <= len(counts) <= MAX_CLASSES and min(counts.values()) >= fewest:
            return name
    return None


def _topic(cell: str | None) -> str:
    """The topic in a cell; empty where there is none."""
    topic = (cell or "").strip()
    return "" if topic in MISSING else topic


def draft_passages(
    table: TextTable,
    columns: PassageColumns,
    all_scored: bool = False,
    drop_duplicates: bool = False,
    leave_out: bool = False,
) -> Draft[LanguageDataset]:
    """Make a dataset of passages of the columns of a table.

    Without a column of parts a fifth is drawn for testing, of each topic, such that none of its prompts is in both
    parts.

    Args:
        table: the rows.
        columns: what they are, and which columns to use.
        all_scored: whether prompts are scored, too.
        drop_duplicates: leave out passages that repeat another one; of one in both parts that of the test part stays.
        leave_out: whether rows that cannot be used, such as those without a completion, are left out.

    Raises:
        DatasetError: a column is missing or used twice, a row cannot be used, or there are too few passages.
    """
    form, cells, parts = form_of(columns.form), cells_of(table, columns), parts_of(table, columns.part)
    topics = [""] * len(table) if columns.topic is None else [*map(_topic, table.column(columns.topic))]
    found: list[Row] = []
    empty, faults = table.empty_rows, Faults()
    for number, row in enumerate(zip(*cells.values(), strict=True)):
        where = f"Row {table.places[number]}"
        of_field = dict(zip(cells, row, strict=True))
        if lists := next((key for key, cell in of_field.items() if cell is None), None):
            name = quoted(dict(columns.columns)[lists])
            faults.add(f"{where} has a list or an object in {name}, not a text: choose another column.")
            continue
        written = {key: cell or "" for key, cell in of_field.items()}
        passage = form.passage(written, all_scored)
        if passage is None:
            empty += 1
        elif isinstance(passage, str):
            faults.add(f"{where} {passage}.")
        elif (length := max(len(cell) for cell in written.values())) > MAX_TEXT and not passage.messages:
            faults.add(f"{where} has a text of {length:,} characters: the limit is {MAX_TEXT:,}.")
        elif number in parts.faults:
            faults.add(f"{where} has {parts.faults[number]}.")
        elif columns.topic is not None and not topics[number]:
            faults.add(f"{where} has no topic in {quoted(columns.topic)}: fill it in, or remove the row.")
        else:
            found.append(Row(passage, parts.of_rows[number], topics[number]))
    faults = table.faults.plus(faults)
    faults.check(len(found), leave_out)
    if not found:
        raise DatasetError(f"The column {quoted(columns.columns[0][1])} has no texts: choose another one.")

    def draft() -> Draft[LanguageDataset]:
        return _draft(table, columns, found, (empty, parts.note, faults), drop_duplicates)

    return faults.without(draft, "rows")


def _draft(
    table: TextTable,
    columns: PassageColumns,
    everything: Sequence[Row],
    read: tuple[int, str | None, Faults],
    drop_duplicates: bool,
) -> Draft[LanguageDataset]:
    """The draft of what can be used. Raises: DatasetError: there is too little of it."""
    form, (empty, note, faults) = form_of(columns.form), read
    once: dict[Passage, Row] = {}
    for row in everything:  # of several the first one of the test part, else the first one
        if row.passage not in once or (row.part == "test" != once[row.passage].part):
            once[row.passage] = row
    rows = list(once.values()) if drop_duplicates else everything
    passages = [row.passage for row in rows]
    names = tuple(sorted({row.topic for row in rows if row.topic}))
    label_of = {name: label for label, name in enumerate(names)}
    labels = np.array([label_of.get(row.topic, 0) for row in rows], np.int64)
    if names:
        check_classes(names, "topic", "topics")
    if columns.part is None:
        if names:
            check_counts(names, labels, None, "passages", "topic")
        testing = _drawn(labels, [prompt_of(each) or each for each in passages])
    else:
        testing = given_for_testing((row.part for row in rows), columns.part)
    if names:
        check_counts(names, labels[~testing], labels[testing], "passages", "topic")
    for part, count in (("training", int((~testing).sum())), ("test", int(testing.sum()))):
        if count < MIN_PER_PART:
            passage = "passage" if count == 1 else "passages"
            raise DatasetError(f"The {part} part has {count} {passage}: it needs at least {MIN_PER_PART}, so add more.")
    dataset = dataset_of(passages, testing, labels, names)
    known, prompts = {*dataset.train_texts}, {prompt_of(passage) for passage in dataset.train_texts}
    shared = sum(prompt is not None and prompt in prompts for prompt in map(prompt_of, dataset.test_texts))
    answered_otherwise = sum(
        passage not in known and (prompt := prompt_of(passage)) is not None and prompt in prompts
        for passage in dataset.test_texts
    )
    scored = [sum(map(bytes_of, part)) for part in (dataset.train_texts, dataset.test_texts)]
    split = "split as in the file" if columns.part else "with a random test part"
    read_from = "" if table.is_plain else f"; read from {listed([name for _, name in columns.columns])}"
    of_topics = f" on {len(names)} topics" if names else ""
    all_scored = all(is_scored for passage in passages for _, is_scored in passage.pieces)
    what = f"the {form.completes} are" if form.completes and not all_scored else "everything is"
    duplicates = len(everything) - len(once)
    warnings = (
        *table.notes,
        note,
        overlap_sentence(dataset),
        _shared_warning(answered_otherwise, len(dataset.test_texts)),
        _glued_warning(passages),
    )
    facts = {
        "Bytes per passage": lengths_text([bytes_of(each, scored_only=False) for each in passages]),
        "Bytes learned per passage": lengths_text([bytes_of(each) for each in passages]),
        "Bytes learned in all": f"{count_text(scored[0])} for training, {count_text(scored[1])} for testing",
        "Empty rows": found_text(empty, "left out"),
        "Repeated passages": found_text(duplicates, "left out" if drop_duplicates else "kept"),
        "Test passages that are in the training part": found_text(dataset.overlap),
        "Test passages with a prompt of the training part": found_text(shared),
    }
    return Draft(
        dataset,
        f"{len(rows):,} passages{of_topics}, of which {what} learned: {len(dataset.train_texts):,} for training and "
        f"{len(dataset.test_texts):,} for testing, {split}{read_from}.",
        tuple(filter(None, warnings)),
        faults,
        tuple(facts.items()),
        empty,
        duplicates,
        drop_duplicates,
    )


def dataset_of(
    passages: Sequence[Passage], testing: NDArray[np.bool_], labels: Labels, names: tuple[str, ...]
) -> LanguageDataset:
    """The dataset of some passages.

    Args:
        passages: n of them.
        testing: (n,) whether each is to be tested on.
        labels: (n,) of their topics.
        names: of the topics; empty without.
    """
    train, test = np.flatnonzero(~testing), np.flatnonzero(testing)
    train_labels, test_labels = labels[train], labels[test]
    for array in (train_labels, test_labels):
        array.flags.writeable = False
    known, tested = (tuple(passages[row] for row in rows.tolist()) for rows in (train, test))
    return LanguageDataset("upload", known, train_labels, tested, test_labels, names)


def prompt_of(passage: Passage) -> Hashable | None:
    """What a passage begins with and is the same for all answers to it; None for a text without a prompt."""
    if passage.parts:
        return passage.parts[0][0] if len(passage.parts) > 1 else None
    first = next(number for number, (role, _) in enumerate(passage.messages) if role == SCORED_ROLE)
    return passage.messages[:first] or None


def bytes_of(passage: Passage, scored_only: bool = True) -> int:
    """UTF-8 bytes of what is scored, or of all; of a conversation without what a chat template adds."""
    return sum(len(text.encode()) for text, is_scored in passage.pieces if is_scored or not scored_only)


def _drawn(labels: Labels, keys: Sequence[Hashable]) -> NDArray[np.bool_]:
    """Which passages to test on, (n,): drawn of each topic by itself. Args: keys: see :func:`_testing`."""
    testing = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        testing[rows] = _testing([keys[row] for row in rows.tolist()])
    return testing


def _testing(keys: Sequence[Hashable]) -> NDArray[np.bool_]:
    """Which passages to test on: about a fifth of all, drawn with a fixed seed, those with equal keys together.

    Where most have one key, which so cannot be parted, they are drawn one by one.
    """
    number_of = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    groups = np.array([number_of[key] for key in keys], np.int64)
    if np.bincount(groups).max() > len(groups) // 2:
        groups = np.arange(len(groups))
    # NumPy guarantees that the stream of RandomState never changes between versions.
    order = np.random.RandomState([SPLIT_SEED]).permutation(int(groups.max()) + 1)
    sizes = np.bincount(groups)[order]
    wanted = max(1, round(TEST_SHARE * len(groups)))
    taken = order[sizes.cumsum() - sizes < wanted]
    return np.isin(groups, taken)


def _shared_warning(shared: int, tested: int) -> str:
    if not shared:
        return ""
    return f"{shared:,} of {tested:,} test passages have a prompt that the training part answers in another way."


def _glued_warning(passages: Sequence[Passage]) -> str:
    """A sentence where prompts run into their completions."""
    pairs = [passage.parts for passage in passages if len(passage.parts) == 2]
    glued = sum(pair[0][0][-1].isalnum() and pair[1][0][0].isalnum() for pair in pairs)
    if not pairs or glued < GLUED * len(pairs):
        return ""
    return (
        "Prompts run into their completions, as in …"
        f"{pairs[0][0][0][-12:]!r}{pairs[0][1][0][:12]!r}…: end prompts with a space or a line break."
    )
