"""What CONTRIBUTING.md and README.md say that a program can check."""

from __future__ import annotations

import re
import shlex

import pytest

from core.__main__ import parser
from tests.docs.source import ROOT

FOLDERS = ("core", "pages", "tests", "benchmarks", "docs", "examples")
CODE = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
COMMANDS = re.findall(
    r"^python -m core (.+?)(?: +#.*)?$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
)


def found(pattern: str) -> list[str]:
    """Modules in which a line matches."""
    return [
        path.relative_to(ROOT).as_posix()
        for path in CODE
        if re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    ]


def test_no_line_is_kept_from_the_formatter() -> None:
    assert found(r"# fmt[:] ") == []


def test_every_table_keeps_clear_of_what_stands_above_it() -> None:
    assert found(r"\w\.dataframe\(") == ["pages/shared/ui/dataframe.py"]


def test_limits_are_called_max_and_min() -> None:
    assert found(r"^(?:[A-Z]+_)*(?:MOST|LEAST|FEWEST)_[A-Z_]+\s*[:=]") == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_readme_has_its_options(command: str) -> None:
    parser().parse_args(shlex.split(command))


def test_the_readme_shows_every_command() -> None:
    shown = {command.split()[0] for command in COMMANDS}
    (commands,) = [action for action in parser()._actions if isinstance(action.choices, dict)]
    assert set(commands.choices or ()) == shown


def test_help_is_plain_text() -> None:
    (commands,) = [action for action in parser()._actions if isinstance(action.choices, dict)]
    for shown in (parser(), *(commands.choices or {}).values()):
        text = shown.format_help()
        assert "``" not in text
        assert not re.search(r"\.\s*[;,]", text.replace("...", ""))
