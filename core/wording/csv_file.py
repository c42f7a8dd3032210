"""CSV files whose text cells a spreadsheet does not run as formulas."""

from __future__ import annotations

import pandas as pd

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make spreadsheets read a cell as a formula, as listed by OWASP on CSV injection."""


def csv_of(table: pd.DataFrame) -> str:
    """Convert a table to CSV, without its index.

    Lines end with CRLF, as in RFC 4180. Text that a spreadsheet would read as a formula is prefixed with an apostrophe,
    which marks it as text. Numbers are not changed, including negative ones.
    """
    safe = table.apply(lambda column: column.map(_plain) if _holds_text(column) else column)
    text: str = safe.rename(columns=_plain).to_csv(index=False, lineterminator="\r\n")
    return text


def _holds_text(column: pd.Series) -> bool:
    return pd.api.types.is_object_dtype(column.dtype) or pd.api.types.is_string_dtype(column.dtype)


def _plain(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell
