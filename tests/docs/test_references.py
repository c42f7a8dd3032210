"""References in docstrings, as in :func:`core.files.write_atomically`, lead to something that exists."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator

from tests.docs.source import Module, modules

REFERENCE = re.compile(r":(?:func|class|mod|data|attr|meth|exc|const|obj):`[~!]?([^`]+)`")
MODULES = modules()


def members(body: list[ast.stmt]) -> Iterator[str]:
    """Names that statements give something to; in ``if`` and ``try`` as well."""
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign(targets=targets):
                yield from (n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name))
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (alias.asname or alias.name.split(".")[0] for alias in names)
            case ast.If() | ast.Try() | ast.With():
                for part in ("body", "orelse", "finalbody"):
                    yield from members(getattr(node, part, []))


def definitions(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    return {node.name: node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def names_of(node: ast.ClassDef, module: Module) -> set[str]:
    """Names of a class: its own, those given to ``self``, and those of its bases in this project."""
    found = set(members(node.body))
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store) and ast.unparse(part.value) == "self":
            found.add(part.attr)
    for base in node.bases:
        origin = origin_of(ast.unparse(base), module)
        if origin is not None:
            found |= names_of(*origin)
    return found


def origin_of(name: str, module: Module) -> tuple[ast.ClassDef, Module] | None:
    """The class that a name means in a module of this project, with the module that defines it."""
    node = definitions(module.tree.body).get(name)
    if isinstance(node, ast.ClassDef):
        return node, module
    for path in module.imports:
        home, _, last = path.rpartition(".")
        if last == name and home in MODULES:
            return origin_of(name, MODULES[home])
    return None


def exists(path: list[str], module: Module) -> bool:
    """Whether a path like ``Class.method`` leads somewhere from a module of this project."""
    if path[0] not in set(members(module.tree.body)):
        return False
    if len(path) == 1:
        return True
    origin = origin_of(path[0], module)
    return origin is not None and len(path) == 2 and path[1] in names_of(*origin)


def is_outside(path: list[str]) -> bool:
    """Whether it is found in a library."""
    for end in range(len(path), 0, -1):
        try:
            thing = importlib.import_module(".".join(path[:end]))
        except ImportError:
            continue
        for name in path[end:]:
            if not hasattr(thing, name):
                return False
            thing = getattr(thing, name)
        return True
    return False


def resolves(reference: str, module: Module, around: list[ast.ClassDef]) -> bool:
    """Whether a reference leads somewhere: in the class or module where it stands, in this project, or in a library."""
    path = reference.removesuffix("()").split(".")
    if len(path) == 1 and any(path[0] in names_of(node, module) for node in around):
        return True
    if exists(path, module):
        return True
    for end in range(len(path), 0, -1):
        known = MODULES.get(".".join(path[:end]))
        if known is not None:
            return end == len(path) or exists(path[end:], known)
    return path[0] not in ("core", "pages") and is_outside(path)


def texts(node: ast.AST, around: list[ast.ClassDef]) -> Iterator[tuple[str, int, list[ast.ClassDef]]]:
    """Every string in a module, with its line and the classes that it stands in."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value, child.lineno, around
        yield from texts(child, [*around, child] if isinstance(child, ast.ClassDef) else around)


def test_every_reference_resolves() -> None:
    count, dead = 0, []
    for module in MODULES.values():
        for text, line, around in texts(module.tree, []):
            for reference in REFERENCE.findall(text):
                count += 1
                if not resolves(reference, module, around):
                    dead.append(f"{module.place}:{line}: {reference}")
    assert count > 50
    assert dead == []
