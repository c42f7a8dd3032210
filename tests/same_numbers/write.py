"""Writes the golden files again, and prints what changes in them: ``python -m tests.same_numbers.write``.

They were written by two commits, each with its own code and with this folder:

    git worktree add /tmp/before 165b471
    cd /tmp/before && PYTHONPATH=.:REPOSITORY python -m tests.same_numbers.write 165b471
    git worktree add /tmp/main b9d1c89
    cd /tmp/main && PYTHONPATH=.:REPOSITORY python -m tests.same_numbers.write b9d1c89

Those of 165b471, which programs read, are not written again: no version may change them. Those of b9d1c89, which people
read, are written with the code of today, as ``python -m tests.same_numbers.write b9d1c89``, when a text is meant to
change. The printed differences are then what the change does to texts, and none of them may be in a number.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from streamlit.components.v2 import manifest_scanner

from tests.same_numbers.asked import for_people, for_programs
from tests.same_numbers.golden import MAIN, OLD, changed, changed_lines, path_of, read, write
from tests.same_numbers.homes import HOMES, copy_of


def main() -> int:
    """Write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", choices=[OLD, MAIN], help="whose golden files to write")
    parser.add_argument("homes", nargs="*", default=HOMES, help=f"some of: {', '.join(HOMES)}")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)
    for name in options.homes:
        with tempfile.TemporaryDirectory() as folder:
            home = copy_of(name, Path(folder))
            content = for_programs(home) if options.commit == OLD else dict(for_people(home))
        if path_of(name, options.commit).exists():
            print(changes(read(name, options.commit), content), file=sys.stderr)
        write(name, options.commit, content)
        print(f"{path_of(name, options.commit)}: {path_of(name, options.commit).stat().st_size:,} bytes")
    return 0


def changes(before: dict[str, Any], after: dict[str, Any]) -> str:
    """What differs in each part of two golden files."""
    found = [f"{name} is gone" for name in before if name not in after] + [
        f"{name} is new" for name in after.keys() - before
    ]
    for name in before.keys() & after:
        old, new = before[name], after[name]
        lines = changed_lines(old.pop("lines", []), new["lines"]) if "lines" in new else ""
        found += [f"{name}:\n{text}" for text in (lines, changed(old, new)) if text]
    return "\n".join(found)


if __name__ == "__main__":
    sys.exit(main())
