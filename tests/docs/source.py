"""The code of this project as syntax trees, and what docs/architecture.md and docs/glossary.md say of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAP = ROOT / "docs" / "architecture.md"
EXTENDING = ROOT / "docs" / "extending.md"
GLOSSARY = ROOT / "docs" / "glossary.md"
CODE = ("core", "pages")


@dataclass(frozen=True)
class Module:
    """One Python file."""

    path: Path

    @cached_property
    def name(self) -> str:
        """As it is imported."""
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(encoding="utf-8"))

    @cached_property
    def place(self) -> str:
        """Its path below the root, as the docs write it."""
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def imports(self) -> tuple[str, ...]:
        """Modules and names that it imports, wherever in the file, as ``package.module`` or ``package.module.name``."""
        return tuple(self._imports())

    def _imports(self) -> Iterator[str]:
        package = self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                origin = ".".join([*above, *([node.module] if node.module else [])])
                yield from (f"{origin}.{alias.name}" for alias in node.names)


@cache
def modules() -> dict[str, Module]:
    """Every module of the app, by name."""
    paths = [ROOT / "app.py", *(path for folder in CODE for path in sorted((ROOT / folder).rglob("*.py")))]
    return {module.name: module for module in map(Module, paths)}


def module_in(name: str, known: dict[str, Module]) -> Module | None:
    """The module that an import names, itself or by something in it; None outside this project."""
    return known.get(name) or known.get(name.rpartition(".")[0])


def imported(module: Module, known: dict[str, Module]) -> set[Module]:
    """Modules of this project that a module imports."""
    found = {module_in(name, known) for name in module.imports}
    return {other for other in found if other is not None} - {module}


def rows(text: str, columns: int) -> list[list[str]]:
    """Cells of the rows of all tables with this many columns, without headings and rules."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")] if line.startswith("|") else []
        if len(cells) == columns and not set(cells[0]) <= set("- :|"):
            found.append(cells)
    return found


def in_backticks(text: str) -> list[str]:
    """What stands between backticks, blocks of code left out."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def floors() -> dict[str, int]:
    """Floor of each unit in the picture of docs/architecture.md; a folder ends in a slash."""
    picture = re.search(r"^```\n(.*?)^```", MAP.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    if picture is None:
        raise LookupError("docs/architecture.md has no picture")
    found: dict[str, int] = {}
    floor = -1
    for line in picture[1].splitlines():
        columns = re.split(r" {2,}", line.strip())
        floor = int(columns[0]) if columns[0].isdigit() else floor
        for unit in columns:
            if re.fullmatch(r"[a-z_]+(/[a-z_]+)*(/|\.py)", unit):
                if unit in found:
                    raise ValueError(f"{unit} stands twice in the picture of docs/architecture.md")
                found[unit] = floor
    return found


def unit_of(module: Module) -> str:
    """The folder that holds a module, with a slash; the module itself if it lies directly in one of CODE or above."""
    folder = module.path.parent
    is_root = folder == ROOT or folder.relative_to(ROOT).as_posix() in CODE
    return module.place if is_root else f"{folder.relative_to(ROOT).as_posix()}/"
