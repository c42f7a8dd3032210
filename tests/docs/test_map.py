"""docs/architecture.md is a true map, its picture is the rule for imports, and what the docs name is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

import pytest

from core.tasks.views.registry import VIEWS
from tests.docs.source import EXTENDING, MAP, ROOT, floors, imported, in_backticks, module_in, modules, unit_of

MODULES = modules()
FLOORS = floors()
UNITS = {name: unit_of(module) for name, module in MODULES.items()}
PACKAGES = {
    module.place: ast.get_docstring(module.tree) or ""
    for module in MODULES.values()
    if module.path.name == "__init__.py"
}
EXTENSIONS = EXTENDING.read_text(encoding="utf-8")
NAMED = [
    *in_backticks(MAP.read_text(encoding="utf-8") + EXTENSIONS),
    *in_backticks("\n".join(PACKAGES.values()).replace("``", "`")),
]
"""What the docs and the docstrings of packages name."""
KINDS = {view.kind for view in VIEWS}
HOME = {
    "networks/",
    *("runs/ID/", "runs/ID/run.json", "backups/", "deleted/", "deleted/runs.txt"),
    *("damaged/", "owners/", "datasets/", "networks/"),
    "networks/partial/",
    "tracking/",
}
"""What lies in a home folder, and what only looks like a path."""

MAX_LINES = 400


def test_every_unit_is_on_the_map_and_nothing_else() -> None:
    """A folder that holds modules is a unit and stands on one floor."""
    assert set(UNITS.values()) == set(FLOORS)


@pytest.mark.parametrize(
    "what",
    [
        "a method",
        "a network family",
        "a dataset source",
        "an objective",
        "a measure",
        "an executor",
        "a tracker",
        "a check",
    ],
)
def test_what_is_added_touches_three_files_at_most(what: str) -> None:
    (row,) = re.findall(rf"^\| {what}(?:: [^|]*)? \| (.*) \|$", EXTENSIONS, re.MULTILINE)
    touched = row.partition("see below")[0].partition(" only where ")[0]
    files = re.findall(r"`((?:core|pages)/[\w/]*(?:\.py|/))`", touched)
    assert 1 <= len(files) <= 3


def test_every_package_says_what_it_is() -> None:
    assert [place for place, text in PACKAGES.items() if not text] == []


def test_imports_only_go_down() -> None:
    wrong = []
    for module in MODULES.values():
        own = UNITS[module.name]
        for other in imported(module, MODULES):
            unit = UNITS[other.name]
            if unit != own and FLOORS[unit] >= FLOORS[own]:
                wrong.append(f"{module.place} (floor {FLOORS[own]}) imports {other.place} (floor {FLOORS[unit]})")
    assert wrong == []


def test_there_are_no_circles() -> None:
    graph = {module.name: {other.name for other in imported(module, MODULES)} for module in MODULES.values()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]), pytrace=False)


def test_the_library_does_not_know_streamlit_and_pages_know_no_tensors_or_tables() -> None:
    banned = {"core": {"streamlit", "pages", "app"}, "pages": {"torch", "sqlite3", "safetensors"}}
    wrong = [
        f"{module.place} imports {name}"
        for module in MODULES.values()
        for name in module.imports
        if name.split(".")[0] in banned.get(module.name.split(".")[0], ())
    ]
    assert wrong == []


def test_every_import_of_our_own_leads_somewhere() -> None:
    # Otherwise the rules above would not see it.
    own = ("core", "pages", "app")
    names = {name for module in MODULES.values() for name in module.imports if name.split(".")[0] in own}
    assert [name for name in sorted(names) if module_in(name, MODULES) is None] == []


def test_every_module_is_short() -> None:
    long = {
        module.place: count
        for module in MODULES.values()
        if (count := len(module.path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert long == {}


def test_every_path_that_is_named_exists() -> None:
    paths = [name for name in NAMED if re.fullmatch(r"[\w./-]+/[\w.-]*|[a-z]+\.(py|toml|md)", name)]
    paths = [path for path in paths if path not in ("page.py", *HOME)]
    assert len(paths) > 60
    assert [path for path in paths if not (ROOT / path).exists()] == []


def tells_kinds_apart(node: ast.AST) -> bool:
    """Whether code has a line per kind of data, or compares with one of them."""
    if isinstance(node, ast.Compare):
        return isinstance(node.ops[0], ast.Eq | ast.NotEq) and bool(constants([node.left, *node.comparators]) & KINDS)
    return isinstance(node, ast.Dict) and constants(node.keys) >= KINDS


def constants(nodes: Iterable[ast.expr | None]) -> set[object]:
    return {node.value for node in nodes if isinstance(node, ast.Constant)}


def test_the_docs_name_every_place_where_kinds_of_data_differ() -> None:
    section = EXTENSIONS.partition("### A kind of data\n")[2].partition("\n### ")[0]
    places = {module.place for module in MODULES.values() if any(map(tells_kinds_apart, ast.walk(module.tree)))}
    assert len(places) > 5
    assert places - set(in_backticks(section)) == set()


def test_every_name_is_in_the_code() -> None:
    """Functions end in brackets and classes have capitals; both must be defined somewhere, constants assigned."""
    code = "\n".join(module.path.read_text(encoding="utf-8") for module in MODULES.values())
    missing = []
    for name in NAMED:
        *_, last = name.removesuffix("()").split(".")
        if name.endswith("()"):
            known = re.search(rf"^\s*(?:async )?def {last}\(", code, re.MULTILINE)
        elif re.fullmatch(r"[A-Z][A-Za-z]*[a-z][A-Za-z]*", name):
            known = re.search(rf"^(?:class {name}\b|{name} = )", code, re.MULTILINE)
        elif re.fullmatch(r"[A-Z_]+", name):
            known = re.search(rf"\b{name}\b", code)
        else:
            continue
        if not known:
            missing.append(name)
    assert missing == []
