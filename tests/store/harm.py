"""Ways to damage a store, and the command that restores it."""

from __future__ import annotations

import os
import subprocess

from core.settings import Settings
from tests import forked

AS_NOBODY = """
import os, sys
from pathlib import Path
from core.errors import LabError
from core.lab import Lab
from core.store.store import Store
from core.settings import Settings
what, path = sys.argv[1:]
if os.getuid() == 0:  # root ignores file modes
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    Store(Path(path)) if what == "open" else Lab(Settings(Path(path))).start()
except LabError as error:
    print(error)
"""
"""A script that opens a store, or starts a lab, as a user without write permission, and prints the error message."""


def lose(settings: Settings) -> None:
    for path in settings.home.glob("lab.sqlite3*"):
        path.unlink()


def cut(settings: Settings) -> None:
    os.truncate(settings.store, 0)


def scribble(settings: Settings) -> None:
    content = bytearray(settings.store.read_bytes())
    content[5000:9000] = b"?" * 4000
    settings.store.write_bytes(content)


def restore(settings: Settings) -> subprocess.CompletedProcess[str]:
    return forked.run(["-m", "core", "restore", "--home", str(settings.home)])
