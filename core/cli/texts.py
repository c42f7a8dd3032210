"""People's own texts, given as a file: read within bounds, and kept under a name that has a digest of their content."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.data.dataset import USUAL_OBJECTIVE, TextDataset
from core.data.sources.catalog import Catalog
from core.data.sources.own import suggested_name
from core.data.uploads import TextDraft, read_texts
from core.errors import LabError
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import objectives_for

DIGITS = 10
"""Digits of the digest that are part of a name."""

MAX_STEM = 53
"""Characters of a name that are the file's; with the digest there are 64."""


@dataclass(frozen=True)
class OwnTexts:
    """Texts that were read from a file, and the name that they are kept under."""

    name: str
    draft: TextDraft


def add_texts(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a file of texts and its columns."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="your own labelled texts, in place of --source: CSV, TSV, JSON lines or Parquet, plain or gzipped; the "
        "network is fine-tuned on them directly",
    )
    parser.add_argument("--text", metavar="COLUMN", help="column with the texts (default: the likely one)")
    parser.add_argument("--label", metavar="COLUMN", help="column with the labels (default: the likely one)")
    parser.add_argument(
        "--part",
        metavar="COLUMN",
        help="column that says train or test (default: the one that does; without one, a fifth of each class is drawn "
        "for testing)",
    )


def text_objectives() -> dict[str, ObjectiveSpec]:
    """The objectives that uploaded texts can be for, by their kinds."""
    return {objective.kind: objective for objective in (*objectives_for("classes"), *objectives_for("numbers"))}


def read_own(options: argparse.Namespace) -> OwnTexts:
    """Read the file that the options name, and say on stderr what was read; nothing is kept.

    Raises:
        DatasetError: it cannot be used.
    """
    file: Path = options.data
    objective = options.objective
    numbers = text_objectives()[objective].targets == "numbers"
    draft = read_texts(file, options.text, options.label, options.part, objective=objective, numbers=numbers)
    print(f"{file.name}: {draft.line}", file=sys.stderr)
    for warning in draft.warnings:
        print(f"Note: {warning}", file=sys.stderr)
    stem = suggested_name(file.name)[:MAX_STEM].rstrip("-")
    return OwnTexts(f"{stem}-{content_digest(draft.dataset)[:DIGITS]}", draft)


def content_digest(dataset: TextDataset) -> str:
    """SHA-256 over texts, labels and classes, in hex: equal for what a network learns alike."""
    parts: list[object] = [
        [dataset.class_names, dataset.train_texts, dataset.train_labels.tolist()],
        [dataset.test_texts, dataset.test_labels.tolist()],
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
