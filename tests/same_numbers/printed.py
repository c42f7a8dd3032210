"""What commands print of the experiments of a home folder, as JSON and for people, and the reports that they write."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from html import unescape
from pathlib import Path
from typing import Any

from core.__main__ import main
from core.lab import Lab
from core.settings import Settings
from tests.same_numbers.figures import unpacked
from tests.same_numbers.volatile import parted, settled

COMMANDS = ("grow ", "write ")
"""Beginnings of the names of what is printed or written by a command."""

SCRIPT_OR_STYLE = re.compile(r"<(script|style)\b.*?</\1>", re.DOTALL)
FIGURE = re.compile(r'<script type="application/json" id="([^"]*)">([^<]*)</script>')


def printed(*arguments: object) -> str:
    """What a command prints to stdout."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(io.StringIO()):
        main([str(argument) for argument in arguments])
    return said.getvalue()


def experiments(home: Path) -> list[str]:
    """Ids of the experiments of a home folder, the oldest first."""
    lab = Lab(Settings(home))
    try:
        return sorted(experiment.id for experiment in lab.store.experiments())
    finally:
        lab.close()


def json_of(home: Path, experiment: str) -> dict[str, Any]:
    """The object that ``grow --json`` prints of an experiment that lacks nothing, without paths of this machine."""
    text = printed("grow", experiment, "--json", "--home", home)
    found: dict[str, Any] = json.loads(text.replace(json.dumps(str(home))[1:-1], "HOME"))
    return found


def texts_of(home: Path, experiment: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What people read of an experiment on the command line: the table with its sentences, and the report."""
    lines = printed("grow", experiment, "--home", home).splitlines()
    yield f"grow {experiment}", {"lines": settled(lines, home)}
    file = home.parent / "report.html"
    printed("report", experiment, file, "--home", home)
    yield f"write report {experiment}", report_parts(file.read_text(encoding="utf-8"), home)


def report_parts(html: str, home: Path) -> dict[str, Any]:
    """A report's lines without style and scripts, its figures by name, and the specs in it as JSON."""
    figures = {name: unpacked(json.loads(text)) for name, text in FIGURE.findall(html)}
    bare = SCRIPT_OR_STYLE.sub("", html).replace("<tr>", "\n<tr>").replace("<pre>", "\n<pre>\n")
    lines, objects = parted(unescape(line.replace("</pre></details>", "")) for line in bare.splitlines())
    return {"lines": settled(lines, home), "figures": figures, "objects": objects}
