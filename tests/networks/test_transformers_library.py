"""transformers can be needed first by several threads at once, as by a run that starts while a page is drawn."""

from __future__ import annotations

import subprocess
import sys

from tests.docs.source import modules
from tests.forked import REPO

PROGRAM = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from core.networks.transformers_library import transformers

together = Barrier(8)

def look(number):
    together.wait()
    return str((transformers().AutoTokenizer, transformers("utils").logging))

with ThreadPoolExecutor(8) as pool:
    found = set(pool.map(look, range(8)))
assert len(found) == 1, found
"""


def test_many_threads_may_import_it_at_once() -> None:
    # A process of its own: here it may have been imported long ago.
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_in_core_imports_it_in_another_way() -> None:
    # The reader runs one function in a process of its own, where no thread imports beside another.
    elsewhere = [each for each in modules().values() if each.name.startswith("core.") and "reader" not in each.name]
    names = [name for module in elsewhere for name in module.imports]
    assert [name for name in names if name.split(".")[0] == "transformers"] == []
