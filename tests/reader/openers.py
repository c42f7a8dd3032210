"""Functions that the reader runs in tests: some do what hostile files make parsers do."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from core.errors import DatasetError, LabError
from core.reader import GROWTH, Limits, in_reader, opening

SMALL = Limits(memory=2**26, cpu=1, wall=2, output=2**20)


@dataclass(frozen=True, eq=False)
class Things:
    """A value of every kind that can be passed on."""

    array: NDArray[np.float32]
    numbers: tuple[int, ...]
    texts: Mapping[str, str | None]
    part: tuple[bytes, bool, float]
    place: Path
    error: type[LabError]


@in_reader(DatasetError)
def same(things: Things) -> Things:
    return things


@in_reader(DatasetError, "The file", SMALL)
def kill(number: int) -> None:
    os.kill(os.getpid(), number)


@in_reader(DatasetError)
def size_of(content: bytes) -> int:
    """The number of bytes of a file."""
    return len(content)


@in_reader(DatasetError, "The file", SMALL)
def misbehave(how: str, what: str = "The picture") -> str:
    """Do what a hostile file might make a parser do."""
    match how:
        case "abort":
            os.abort()
        case "crash":
            ctypes.string_at(0)
        case "loop":
            while True:
                pass
        case "sleep":
            time.sleep(60)
        case "ignore":
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            signal.signal(signal.SIGXCPU, signal.SIG_IGN)
            while True:
                pass
        case "write":
            Path(what).write_text("hostile")
        case "much":
            return "a" * 2**21
        case "raise":
            raise ZeroDivisionError
        case "say":
            raise DatasetError("The file has a beard: shave it.")
        case "lie":
            return cast(str, [1, 2, 3])
    return how


@in_reader(DatasetError, "The picture", Limits(memory=2**26, cpu=60, wall=120, output=2**20))
def allocate(how: str) -> str:
    """Take more memory than there is, with time to do it on a busy machine."""
    return str(len([bytearray(2**20) if how == "memory" else [number] for number in range(10**7)]))


WIDE = Limits(memory=2**31, cpu=60, wall=120)


@in_reader(DatasetError, "The file", WIDE)
def last(place: str) -> str:
    """Take as long as there is no file at a place."""
    while not Path(place).exists():
        time.sleep(0.05)
    return place


@in_reader(DatasetError, "The file", Limits(memory=2**30, cpu=60, wall=120, growth=GROWTH))
def allocate_little(size: int) -> int:
    """Take some bytes, though hardly any are given."""
    return len(bytearray(size))


@in_reader(DatasetError)
def environment() -> dict[str, str]:
    return dict(os.environ)


@in_reader(DatasetError)
def pids(number: int) -> tuple[int, int, int]:
    return os.getpid(), os.getppid(), number


@in_reader(DatasetError)
def anything(value: Any) -> Any:
    return value


@in_reader(DatasetError, limits=Limits(memory=2**31))
def grown(module: str, name: str, arguments: bytes) -> int:
    """Bytes by which this process grows while a function of the reader runs in it."""
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak until now; see proc(5)
    opening.run(module, name, arguments)
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
