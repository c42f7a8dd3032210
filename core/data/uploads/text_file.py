"""Unpack an uploaded table of texts within limits, and decode it."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import re
import zlib

from core.data.uploads.images import ENDINGS
from core.data.uploads.limits import MAX_ENTRIES, MAX_TABLE_BYTES, MAX_UNPACKED
from core.errors import DatasetError
from core.zip_file import UntrustedZip, ZipLimits

GZIP = b"\x1f\x8b"
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
STRANGERS = {
    b"\x93NUMPY": "The file is an array, not a table of texts: save a CSV with a text and a label column.",
    b"\x80": "The file is a pickle, which can run code when it is read: save a CSV, JSON lines or Parquet.",
    b"\x89PNG": "The file is an image, not a table of texts: choose a CSV, JSON lines or Parquet file.",
    b"\xff\xd8\xff": "The file is an image, not a table of texts: choose a CSV, JSON lines or Parquet file.",
    b"%PDF": "The file is a PDF: save the texts as a CSV with a text and a label column.",
    b"\xd0\xcf\x11\xe0": "The file is an old Excel or Word file: save the sheet as CSV.",
    b"SQLite": "The file is a SQLite database: export the table as CSV.",
    b"ARROW1": "The file is in the Arrow format: save it as Parquet.",
    b"Rar!": "The file is a RAR archive: unpack it, and choose the table itself.",
    b"7z\xbc\xaf": "The file is a 7z archive: unpack it, and choose the table itself.",
    b"BZh": "The file is compressed with bzip2: unpack it, or use gzip.",
    b"\xfd7zXZ": "The file is compressed with xz: unpack it, or use gzip.",
    b"\x28\xb5\x2f\xfd": "The file is compressed with zstd: unpack it, or use gzip.",
}
"""First bytes of file types that are often mistaken for tables, and what to do instead."""

NO_DATA = "The zip holds a network or an adapter, not data: import it on the page Networks or Adapters."

NETWORK_FILES = frozenset(("config.json", "adapter_config.json"))
"""Names of files that folders of networks and of adapters have, and folders of data do not."""

BINARY = "The file is not a CSV, TSV, JSON lines or Parquet file, or it is damaged: choose another one."

_CONTROLS = re.compile("[\x00-\x08\x0e-\x19\x1b-\x1f]")
"""Characters that text does not have, as opposed to tabs, breaks and DOS's end of a file."""

GUESSES = ("cp1252", "latin-1")
"""Encodings of what is not in Unicode."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks and what they stand for; one that begins with another one comes first."""


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
    for start, sentence in STRANGERS.items():
        if content.startswith(start):
            raise DatasetError(sentence)
    return content


def decoded(content: bytes) -> tuple[str, tuple[str, ...]]:
    """Decode a file of text; line breaks become newlines.

    Returns:
        The text, and notes about what had to be assumed.

    Raises:
        DatasetError: it is not text.
    """
    marked = next((encoding for mark, encoding in _MARKS if content.startswith(mark)), None)
    text, encoding = "\0", None
    for encoding in [marked] if marked else _unmarked(content[:4096]):
        with contextlib.suppress(UnicodeDecodeError):
            text = content.decode(encoding)
            break
    else:
        if marked:
            raise DatasetError(f"The file begins as {marked.upper()} but is damaged: save it again.")
    is_guess = encoding in GUESSES
    if "\0" in text or (is_guess and _CONTROLS.search(text)):
        raise DatasetError(BINARY)
    note = "The file is not in UTF-8 and was read as Windows-1252: check that accents are right."
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return plain, (note,) if is_guess else ()


def _unmarked(start: bytes) -> tuple[str, ...]:
    """Encodings to try: UTF-16, in which every other byte of plain text is zero, or others."""
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = start[first::2].count(0), start[1 - first :: 2].count(0)
        if not others and zeros > len(start) // 4:
            return (encoding,)
    return ("utf-8", *GUESSES)


def _gunzipped(content: bytes) -> bytes:
    """Unpack all members of a gzip file."""
    try:
        with gzip.open(io.BytesIO(content)) as file:
            found = file.read(MAX_TABLE_BYTES + 1)
    except EOFError as error:
        raise DatasetError("The file is gzipped but ends too early: save it again.") from error
    except (OSError, zlib.error) as error:
        raise DatasetError("The file is gzipped but damaged: save it again.") from error
    if len(found) > MAX_TABLE_BYTES:
        raise _too_large()
    return found


def _too_large() -> DatasetError:
    return DatasetError(f"The file unpacks to more than {MAX_TABLE_BYTES // 2**20} MiB: leave rows out.")


def _unzipped(content: bytes) -> bytes:
    """Unpack the only table of a zip."""
    archive = UntrustedZip(content, ZipLimits(MAX_ENTRIES, MAX_UNPACKED), "The file", DatasetError)
    names = {entry.name for entry in archive.entries}
    if "xl/workbook.xml" in names:
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
    if tables[0].size > MAX_TABLE_BYTES:
        raise _too_large()
    return archive.read(tables[0])


def check_holds_data(archive: UntrustedZip) -> None:
    """Check that a zip is no network and no adapter. Raises: DatasetError: it is one."""
    if NETWORK_FILES & {entry.name.rpartition("/")[2] for entry in archive.entries}:
        raise DatasetError(NO_DATA)
