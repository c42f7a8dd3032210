"""Ways to damage a store."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

from core.settings import Settings

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


def halve(settings: Settings) -> None:
    os.truncate(settings.store, settings.store.stat().st_size // 2)


def flip(settings: Settings) -> None:
    """Flip every bit of the second page, once no log beside the file has a later one in its place."""
    with closing(sqlite3.connect(settings.store)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(settings.store.read_bytes())
    content[4096:8192] = bytes(255 - byte for byte in content[4096:8192])
    settings.store.write_bytes(content)
