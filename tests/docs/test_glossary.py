"""docs/glossary.md has no words that nobody uses."""

from __future__ import annotations

import re

from tests.docs.source import GLOSSARY, ROOT, rows

FOLDERS = ("core", "pages", "docs", "tests", "benchmarks")


def words() -> list[str]:
    """Every word that is explained; several in one row are separated by commas, and a note stands in brackets."""
    cells = [row[0] for row in rows(GLOSSARY.read_text(encoding="utf-8"), 2) if row[0] != "word"]
    return [word.strip() for cell in cells for word in re.sub(r"\(.*?\)", "", cell).split(",")]


def pattern(word: str) -> str:
    """Matches a word in singular or plural; its parts may stand on two lines, or have an underscore between them."""
    parts = [re.escape(part) for part in word.lower().split()]
    return r"(?<![a-z])" + r"[\s_]+".join(parts) + r"(?:s|es)?(?![a-z])"


def test_every_word_is_used() -> None:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".md")]
    texts = [path.read_text(encoding="utf-8") for path in paths if path not in (GLOSSARY, *ROOT.glob("tests/docs/*"))]
    used = "\n".join([*texts, (ROOT / "README.md").read_text(encoding="utf-8")]).lower()
    found = words()
    assert len(found) > 50
    assert [word for word in found if not re.search(pattern(word), used)] == []


def test_no_word_is_explained_twice() -> None:
    cells = [row[0] for row in rows(GLOSSARY.read_text(encoding="utf-8"), 2) if row[0] != "word"]
    assert len(set(cells)) == len(cells)
