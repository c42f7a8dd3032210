"""Tables as CSV files that a spreadsheet opens without running anything in them."""

from __future__ import annotations

import pandas as pd

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What makes a formula of a cell, in the spreadsheets that OWASP's advice on CSV injection is about."""


def csv_of(table: pd.DataFrame) -> str:
    """A table as CSV, without its index.

    Lines end as RFC 4180 says. A text that would be read as a formula gets an apostrophe before it, which spreadsheets
    take as "this is text". Numbers are numbers, negative ones too.
    """
    safe = table.apply(lambda column: column.map(_plain) if _holds_text(column) else column)
    text: str = safe.rename(columns=_plain).to_csv(index=False, lineterminator="\r\n")
    return text


def _holds_text(column: pd.Series) -> bool:
    return pd.api.types.is_object_dtype(column.dtype) or pd.api.types.is_string_dtype(column.dtype)


def _plain(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell
