"""Packages that only some people need, imported when they are first used."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from core.errors import LabError


def optional_module(name: str, needed_by: str, extra: str, error: type[LabError]) -> ModuleType:
    """Import a module of a package that need not be installed.

    Args:
        name: the dotted name of the module.
        needed_by: beginning of the sentence that is raised, such as "ONNX files need".
        extra: the middle of the name of the file of requirements that has the package.
        error: what to raise if it is not installed.

    Raises:
        LabError: of the given type: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as cause:
        raise error(_sentence(name, needed_by, extra)) from cause


def check_installed(name: str, needed_by: str, extra: str, error: type[LabError]) -> None:
    """Check that a package is installed, and import nothing.

    The arguments are those of :func:`optional_module`.

    Raises:
        LabError: of the given type: it is not installed.
    """
    if importlib.util.find_spec(name) is None:
        raise error(_sentence(name, needed_by, extra))


def _sentence(name: str, needed_by: str, extra: str) -> str:
    package = name.partition(".")[0]
    return f"{needed_by} the package {package}, which is not installed: pip install -r requirements-{extra}.txt"
