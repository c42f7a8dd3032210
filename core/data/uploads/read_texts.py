"""Read labelled texts from a CSV, TSV, JSON lines or Parquet file; its type is detected from the bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from core.data.dataset import USUAL_OBJECTIVE, LanguageDataset, TextColumns, TextDataset
from core.data.uploads.draft import Draft
from core.data.uploads.limits import MAX_BYTES
from core.data.uploads.passage_draft import draft_passages
from core.data.uploads.passage_forms import columns_of
from core.data.uploads.plain_text import read_plain
from core.data.uploads.tables import is_json, read_csv, read_json, read_parquet
from core.data.uploads.text_columns import guess
from core.data.uploads.text_draft import draft_texts
from core.data.uploads.text_file import PARQUET, decoded, unpacked
from core.data.uploads.text_table import TextTable, listed
from core.errors import DatasetError, os_error_as
from core.reader import GROWTH, Limits, in_reader

PLAIN = (".txt", ".txt.gz", ".md")
"""Ends of names of plain texts, in lower case."""


def read_texts(
    source: bytes | Path,
    text: str | None = None,
    label: str | None = None,
    part: str | None = None,
    drop_duplicates: bool = False,
    objective: str = USUAL_OBJECTIVE,
    numbers: bool = False,
    leave_out: bool = False,
) -> Draft[TextDataset]:
    """Read a dataset of texts from a file; nothing is written to disk.

    Args:
        source: the file, or where it is: a CSV, TSV, JSON lines or Parquet file, plain, gzipped or alone in a zip.
        text: name of the column with the texts; None for the one that looks like it.
        label: name of the column with the labels; None likewise.
        part: name of the column that says train or test; None for the one that looks like it, if there is one, else
            a fifth of each class is drawn for testing.
        drop_duplicates: leave out rows that repeat the text and the label of another row.
        objective: kind of the objective that the labels are for.
        numbers: whether they are numbers, not classes.
        leave_out: whether rows that cannot be used, such as those without a label, are left out.

    Raises:
        DatasetError: it cannot be used; the message says why.
    """
    table = read_text_table(source)
    if table.unlabelled:
        raise DatasetError(table.unlabelled)
    guessed = guess(table, numbers)
    chosen = {"text": text or guessed.text, "label": label or guessed.label}
    for what, name in chosen.items():
        if name is None:
            if guessed.obstacle:
                raise DatasetError(guessed.obstacle)
            raise DatasetError(f"Which column has the {what}s is not clear: choose one of {listed(table.columns)}.")
    if part is None and guessed.part not in chosen.values():
        part = guessed.part
    columns = TextColumns(str(chosen["text"]), str(chosen["label"]), part)
    return draft_texts(table, columns, drop_duplicates, objective, leave_out, numbers)


def read_passages(
    source: bytes | Path,
    columns: Mapping[str, str] | None = None,
    part: str | None = None,
    all_scored: bool = False,
    drop_duplicates: bool = False,
    topic: str | None = None,
    leave_out: bool = False,
) -> Draft[LanguageDataset]:
    """Read a dataset of passages for a language model from a file; nothing is written to disk.

    Args:
        source: the file, or where it is: a plain text, or a table with texts, prompts and completions, conversations or
            instructions. A file whose name ends with ``.txt`` is a plain text whatever it looks like.
        columns: the column of each field of a form, by the field's key, such as ``prompt`` and ``completion``; None for
            those that look like it.
        part: name of the column that says train or test; None for the one that looks like it, if there is one.
        all_scored: whether prompts are scored, too.
        drop_duplicates: leave out passages that repeat another one.
        topic: name of the column that names the topic of each row; None for passages without topics.
        leave_out: whether rows that cannot be used, such as those without a completion, are left out.

    Raises:
        DatasetError: it cannot be used; the message says why.
    """
    table = read_text_table(source, isinstance(source, Path) and source.name.lower().endswith(PLAIN))
    chosen = columns_of(table, columns or {})
    chosen = replace(chosen, part=part or chosen.part, topic=topic)
    return draft_passages(table, chosen, all_scored, drop_duplicates, leave_out)


def read_text_table(source: bytes | Path, is_plain: bool = False) -> TextTable:
    """Read the rows of a file.

    Args:
        source: the file, or where it is.
        is_plain: whether it is a plain text, whatever it looks like.

    Raises:
        DatasetError: it is not such a file, damaged, or too large.
    """
    content = source if isinstance(source, bytes) else _content(source)
    if not content:
        raise DatasetError("The file is empty: choose a CSV, TSV, JSON lines or Parquet file.")
    if len(content) > MAX_BYTES:
        raise DatasetError(f"The file is larger than {MAX_BYTES // 2**20} MiB: leave rows out, or gzip it.")
    return _table(content, is_plain)


@in_reader(DatasetError, limits=Limits(memory=2**30, cpu=30, wall=180, growth=GROWTH))
def _table(content: bytes, is_plain: bool) -> TextTable:
    content = unpacked(content)
    if content.startswith(PARQUET):
        return read_parquet(content)
    characters, notes = decoded(content)
    if is_plain:
        return read_plain(characters, notes)
    read = read_json if is_json(characters) else read_csv
    return read(characters, notes)


def _content(path: Path) -> bytes:
    with os_error_as(DatasetError, f"The file {path.name} cannot be read"), path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
