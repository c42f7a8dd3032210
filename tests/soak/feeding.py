"""A process that is fed files through both doors, and says what came of each: ``python -m tests.soak.feeding``.

One line of JSON a file and door: the sentence, or that it was taken, or what else was raised; the seconds; the most
memory that the process had meanwhile; and what had changed on disk.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from core.data.uploads import read_upload
from core.engine.job import NETWORK
from core.engine.trial import evaluate_adapter, merged_with
from core.errors import LabError
from core.lab import Lab
from core.settings import Settings
from core.spec import TaskSpec

WRITING = 0o3
"""Bits of the flags of ``open`` that say that a file is to be written."""

STATUS = Path("/proc/self/status")

opened: list[str] = []
"""Files that were opened to be written."""


def note(event: str, arguments: tuple[object, ...]) -> None:
    """Take down every file that is opened to be written."""
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
        opened.append(str(arguments[0]))


def peak() -> int:
    """The most bytes that this process has had in memory, since :func:`forget_peak` where that can be done."""
    if STATUS.exists():
        # Not the resource module's: that begins with what the parent had.
        return 1024 * int(next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak() -> None:
    """Begin anew where the system can: as of proc(5), ``clear_refs``."""
    if STATUS.exists():
        STATUS.with_name("clear_refs").write_text("5")


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file."""
    states = {str(path): path.stat() for path in folder.rglob("*") if path.is_file()}
    return {path: (state.st_size, state.st_mtime_ns) for path, state in states.items()}


def main(home: Path, base: str, files: list[Path]) -> None:
    """Feed the files, one after the other; the first ones are sound, and warm the process up."""
    lab = Lab(Settings(home))
    network = lab.artifacts.path(base, NETWORK)

    def adapter(content: bytes) -> object:
        trial = evaluate_adapter(content, network, lab.tasks, [TaskSpec.of(dataset="digits")])
        merged_with(content, network)
        return trial

    doors: dict[str, Callable[[bytes], object]] = {"dataset": read_upload, "adapter": adapter}
    sys.addaudithook(note)
    before = snapshot(home)
    for file in files:
        for door, enter in doors.items():
            forget_peak()
            opened.clear()
            content, start = file.read_bytes(), time.perf_counter()
            try:
                enter(content)
                how, said = "taken", ""
            except LabError as error:
                how, said = "sentence", str(error)
            except BaseException as error:  # noqa: BLE001 - whatever else comes is what is looked for
                how, said = "raised", f"{type(error).__name__}: {error}"[:2000]
            seconds = time.perf_counter() - start
            changed = sorted(map(str, before.items() ^ snapshot(home).items())) + opened
            print(
                json.dumps(
                    {
                        "file": file.name,
                        "door": door,
                        "how": how,
                        "said": said,
                        "seconds": seconds,
                        "peak": peak(),
                        "changed": changed,
                    }
                ),
                flush=True,
            )
    lab.store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], [Path(line) for line in sys.stdin.read().splitlines()])
