"""The text in an uploaded file: unpacked within limits and decoded; kinds of files that hold no data; and labelled
texts from a CSV, TSV, JSON lines or Parquet file, whose type is detected from the bytes.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from core.data.dataset import USUAL_OBJECTIVE, LanguageDataset, TextColumns, TextDataset
from core.data.uploads.classes import Draft
from core.data.uploads.image_draft import ENDINGS
from core.data.uploads.limits import MAX_BYTES, MAX_ENTRIES, MAX_TABLE_BYTES, MAX_UNPACKED
from core.data.uploads.passage_draft import draft_passages
from core.data.uploads.passage_forms import columns_of, read_plain
from core.data.uploads.tables import is_json, read_csv, read_json, read_parquet
from core.data.uploads.text_columns import TextTable, guess, listed
from core.data.uploads.text_draft import draft_texts
from core.errors import DatasetError, os_error_as
from core.reader import GROWTH, Limits, in_reader
from core.zip_file import UntrustedZip, ZipLimits

GZIP = b"\x1f\x8b"
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
PARQUET = b"PAR1"

STRANGERS = {
    b"\x93NUMPY": "a single array",
    b"\x80": "a pickle, which can run code when it is read",
    b"\x89PNG": "a single image",
    b"\xff\xd8\xff": "a single image",
    b"%PDF": "a PDF",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file",
    b"SQLite": "a SQLite database",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
}
"""File types that are often mistaken for datasets, by their first bytes."""

NETWORK_FILES = frozenset(("config.json", "adapter_config.json"))
"""Names of files that folders of networks and of adapters have, and folders of data do not."""

_CONTROLS = re.compile("[\x00-\x08\x0e-\x19\x1b-\x1f]")
"""Characters that text does not have, as opposed to tabs, breaks and DOS's end of a file."""

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Encodings by their byte order marks; one that begins with another one comes first."""


def check_kind(content: bytes, strangers: Mapping[bytes, str], instead: str) -> None:
    """Check that a file is of no other kind.

    Args:
        content: the file.
        strangers: other kinds by their first bytes.
        instead: what to do where it is one, as the end of a sentence.

    Raises:
        DatasetError: it is.
    """
    for start, kind in strangers.items():
        if content.startswith(start):
            raise DatasetError(f"The file is {kind}: {instead}.")


def unpacked(content: bytes) -> bytes:
    """The table in a file: the file itself, or what is packed in it with gzip or as the only table of a zip.

    Raises:
        DatasetError: it is damaged, unpacks to too much, or is of a kind that holds no table.
    """
    if content.startswith(GZIP):
        content = _gunzipped(content)
    elif content.startswith(ZIP):
        content = _unzipped(content)
    if content.startswith((GZIP, *ZIP)):
        raise DatasetError("The file is packed twice: unpack it once, then try again.")
    check_kind(content, STRANGERS, "save a table of texts as CSV, JSON lines or Parquet")
    return content


def decoded(content: bytes) -> tuple[str, tuple[str, ...]]:
    """Decode a file of text; line breaks become newlines.

    Returns:
        The text, and notes about what had to be assumed.

    Raises:
        DatasetError: it is not text.
    """
    notes: tuple[str, ...] = ()
    encoding = next((encoding for mark, encoding in _MARKS.items() if content.startswith(mark)), "")
    try:
        text = content.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding:
            raise DatasetError(f"The file begins as {encoding.upper()} but is damaged: save it again.") from error
        text = content.decode("cp1252", "replace")
        notes = ("The file is not in UTF-8 and was read as Windows-1252: check that accents are right.",)
    if "\0" in text or (notes and _CONTROLS.search(text)):
        raise DatasetError(
            "The file is not a CSV, TSV, JSON lines or Parquet file, or it is damaged: choose another one."
        )
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n"), notes


def _gunzipped(content: bytes) -> bytes:
    """Unpack all members of a gzip file."""
    try:
        with gzip.open(io.BytesIO(content)) as file:
            found = file.read(MAX_TABLE_BYTES + 1)
    except EOFError as error:
        raise DatasetError("The file is gzipped but ends too early: save it again.") from error
    except (OSError, zlib.error) as error:
        raise DatasetError("The file is gzipped but damaged: save it again.") from error
    _check_unpacked(len(found))
    return found


def _check_unpacked(size: int) -> None:
    if size > MAX_TABLE_BYTES:
        raise DatasetError(f"The file unpacks to more than {MAX_TABLE_BYTES // 2**20} MiB: leave rows out.")


def _unzipped(content: bytes) -> bytes:
    """Unpack the only table of a zip."""
    archive = UntrustedZip(content, ZipLimits(MAX_ENTRIES, MAX_UNPACKED), "The file", DatasetError)
    if any(entry.name == "xl/workbook.xml" for entry in archive.entries):
        raise DatasetError("The file is an Excel workbook: save the sheet as CSV.")
    check_holds_data(archive)
    tables = [
        entry
        for entry in archive.entries
        if "__MACOSX" not in entry.name.split("/") and not entry.name.rpartition("/")[2].startswith(".")
    ]
    if 2 * sum(entry.name.lower().endswith(ENDINGS) for entry in tables) > len(tables):
        raise DatasetError("The zip holds images, not a table of texts. Images are uploaded as Images.")
    if len(tables) != 1:
        raise DatasetError(f"The zip has {len(tables)} files: put one table into it, or choose the table itself.")
    _check_unpacked(tables[0].size)
    return archive.read(tables[0])


def check_holds_data(archive: UntrustedZip) -> None:
    """Check that a zip is no network and no adapter. Raises: DatasetError: it is one."""
    if NETWORK_FILES & {entry.name.rpartition("/")[2] for entry in archive.entries}:
        raise DatasetError("The zip holds a network or an adapter, not data: the Library has a tab for each.")


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
