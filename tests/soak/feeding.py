"""A process that reads files as datasets and adapters and prints each result: ``python -m tests.soak.feeding``.

It prints one line of JSON per file and kind: the error message, or that it was accepted, or which other exception was
raised; the seconds; the peak memory; and what changed on disk.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from core.artifacts.trial import evaluate_adapter, merged_with
from core.data.task_spec import TaskSpec
from core.data.uploads import read_texts, read_upload
from core.errors import LabError
from core.lab import Lab
from core.settings import Settings

WRITING = 0o3
"""Flag bits of ``open`` that are set when a file is opened for writing."""

STATUS = Path("/proc/self/status")

opened: list[str] = []
"""Files that were opened for writing."""


def note(event: str, arguments: tuple[object, ...]) -> None:
    """Record every file that is opened for writing."""
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
        opened.append(str(arguments[0]))


def peak() -> int:
    """Peak memory of this process in bytes, since :func:`forget_peak` if the system supports it."""
    if STATUS.exists():
        # Not from the resource module, which includes the peak of the parent process.
        return 1024 * int(next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak() -> None:
    """Reset the peak if the system supports it; see ``clear_refs`` in proc(5)."""
    if STATUS.exists():
        STATUS.with_name("clear_refs").write_text("5")


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and modification time of every file."""
    states = {str(path): path.stat() for path in folder.rglob("*") if path.is_file()}
    return {path: (state.st_size, state.st_mtime_ns) for path, state in states.items()}


def main(home: Path, base: str, files: list[Path]) -> None:
    """Read the files one by one; the first ones are valid, and warm the process up."""
    lab = Lab(Settings(home))
    network = lab.artifacts.network(base)

    def adapter(content: bytes) -> object:
        trial = evaluate_adapter(content, network, lab.tasks, [TaskSpec.of(dataset="digits")])
        merged_with(content, network)
        return trial

    doors: dict[str, Callable[[bytes], object]] = {"dataset": read_upload, "texts": read_texts, "adapter": adapter}
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
            except BaseException as error:  # noqa: BLE001 - any other error is a bug that the test looks for
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
