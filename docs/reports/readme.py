"""The parts of the README of this folder that programs write, between marks."""

from __future__ import annotations

from pathlib import Path


def put_between(readme: Path, begin: str, text: str, end: str) -> None:
    """Put a text between its marks; a README without them gets it at its end."""
    content = readme.read_text() if readme.exists() else "# Reports\n\n"
    before, found, rest = content.partition(begin)
    after = rest.partition(end)[2] if found else "\n"
    readme.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")
