"""People's own texts, given as a file: read within bounds, and kept under a name that has a digest of their content."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from core.data.dataset import LANGUAGE, USUAL_OBJECTIVE, LanguageDataset, TextDataset
from core.data.passage import Passage
from core.data.sources.catalog import Catalog
from core.data.sources.own import suggested_name
from core.data.uploads import Draft, guess, is_for_language, read_passages, read_text_table, read_texts
from core.errors import DatasetError, LabError
from core.numbers import count_text, counted
from core.objectives.registry import objective_of

DIGITS = 10
"""Digits of the digest that are part of a name."""

MAX_STEM = 53
"""Characters of a name that are the file's; with the digest there are 64."""


@dataclass(frozen=True)
class OwnTexts:
    """Texts that were read from a file, and the name that they are kept under."""

    name: str
    draft: Draft[TextDataset] | Draft[LanguageDataset]


def add_texts(parser: argparse._ActionsContainer) -> None:
    """Add the options that name a file of texts and its columns."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="your own labelled texts, in place of --source: CSV, TSV, JSON lines or Parquet, plain or gzipped; the "
        "network is fine-tuned on them directly; with --objective language also a plain text, and without labels",
    )
    parser.add_argument("--text", metavar="COLUMN", help="column with the texts (default: the likely one)")
    parser.add_argument("--label", metavar="COLUMN", help="column with the labels (default: the likely one)")
    parser.add_argument(
        "--part",
        metavar="COLUMN",
        help="column that says train or test (default: the one that does; without one, a fifth of each class is drawn "
        "for testing)",
    )
    for key, what in CONTINUED.items():
        parser.add_argument(
            f"--{key}",
            metavar="COLUMN",
            help=f"column with the {what}, with --objective language (default: the likely one)",
        )
    parser.add_argument(
        LEAVE_OUT, action="store_true", help="leave out rows that cannot be used, such as those without a label"
    )
    parser.add_argument(
        EVERYTHING,
        action="store_true",
        help="with --objective language, learn prompts, too, and not only completions and answers",
    )


CONTINUED = {"prompt": "prompts", "completion": "completions", "messages": "conversations"}
"""Columns of passages beside that with texts, by the keys of fields, and what they hold."""

EVERYTHING = "--loss-on-everything"
"""The option by which prompts are learned, too."""

LEAVE_OUT = "--leave-out"
"""The option by which some rows may be faulty."""

MAX_TOLD = 5
"""Rows that are left out and told one by one, each with what is wrong with it."""


def read_own(options: argparse.Namespace) -> OwnTexts:
    """Read the file that the options name, and say on stderr what was read; nothing is kept.

    Raises:
        DatasetError: it cannot be used.
    """
    file: Path = options.data
    targets = objective_of(options.objective).targets
    draft: Draft[TextDataset] | Draft[LanguageDataset]
    if targets == "texts":
        columns = {key: name for key in ("text", *CONTINUED) if (name := getattr(options, key)) is not None}
        draft = read_passages(file, columns, options.part, options.loss_on_everything, leave_out=True)
    else:
        try:
            draft = read_texts(
                *(file, options.text, options.label, options.part),
                objective=options.objective,
                numbers=targets == "numbers",
                leave_out=True,
            )
        except DatasetError as error:
            table = read_text_table(file)
            if is_for_language(table):
                raise DatasetError(f"{error} To have the texts continued, add --objective {LANGUAGE}.") from error
            guessed = guess(table, numbers=targets == "numbers")
            unclear = {"text": options.text or guessed.text, "label": options.label or guessed.label}
            if named := [f"--{key} COLUMN" for key, name in unclear.items() if name is None]:
                raise DatasetError(f"{error} Name it with {' and '.join(named)}.") from error
            raise
    if (count := draft.faults.count) and not options.leave_out:
        rows = "this row" if count == 1 else f"all {count_text(count)} rows that cannot be used"
        raise DatasetError(f"{draft.faults.told[0]} {LEAVE_OUT} leaves out {rows}.")
    print(f"{file.name}: {draft.line}", file=sys.stderr)
    if everything := count + draft.empty_rows:
        empty = f", {count_text(draft.empty_rows)} of them without a text" if draft.empty_rows else ""
        told = draft.faults.told[:MAX_TOLD]
        more = [f"… and {count_text(count - len(told))} more"] if count > len(told) else []
        print("\n  ".join([f"Left out: {counted(everything, 'row')}{empty}.", *told, *more]), file=sys.stderr)
    for warning in draft.warnings:
        print(f"Note: {warning}", file=sys.stderr)
    stem = suggested_name(file.name)[:MAX_STEM].rstrip("-")
    return OwnTexts(f"{stem}-{content_digest(draft.dataset)[:DIGITS]}", draft)


def content_digest(dataset: TextDataset | LanguageDataset) -> str:
    """SHA-256 over texts, labels and classes, in hex: equal for what a network learns alike."""
    train, test = (
        [astuple(text) if isinstance(text, Passage) else text for text in part]
        for part in (dataset.train_texts, dataset.test_texts)
    )
    parts: list[object] = [
        [dataset.class_names, train, dataset.train_labels.tolist()],
        [test, dataset.test_labels.tolist()],
        *([] if dataset.objective == USUAL_OBJECTIVE else [dataset.objective]),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@contextmanager
def kept(catalog: Catalog, own: OwnTexts) -> Iterator[None]:
    """Keep texts, unless they are kept already; if the body raises a LabError, what was kept here is removed again.

    Raises:
        DatasetError: there is no room for them.
    """
    state = next((info.state for info in catalog.list() if info.name == own.name), "absent")
    if state == "damaged":
        catalog.remove(own.name)
    if state != "ready":
        catalog.keep(own.draft.dataset, own.name)
    try:
        yield
    except LabError:
        if state != "ready":
            catalog.remove(own.name)
        raise
