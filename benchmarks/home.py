"""How long the answers of Home take: ``python -m benchmarks.home``, on MNIST-16k and on definitions, in a new lab.

Each of its plans is queued as a command and followed to its verdict, as Home does after a press, without a browser.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shlex
import tempfile
import time
from pathlib import Path

from benchmarks.machine import machine
from core.__main__ import parser
from core.answer.lines import headline
from core.cli.compare import launch
from core.cli.comparison import follow
from core.lab import Lab
from core.settings import Settings
from core.study.report.answer import answer_of
from docs.reports.make import EXAMPLE_COMMAND

QUICK_LANGUAGE = "compare --objective language --source definitions --preset split --rank 8 --seeds 3 --epochs 4"

PLANS = {
    "Thorough": EXAMPLE_COMMAND,
    "Quick": "compare --preset rotation-45 --shots 100 --rank 4 --epochs 30",
    "Quick, language": QUICK_LANGUAGE,
}


def timed(line: str) -> str:
    """What a command took from launch to verdict, where that went, and what it says."""
    with tempfile.TemporaryDirectory() as home:
        lab = Lab(Settings.from_environment(Path(home)))
        lab.start()
        try:
            start, used = time.perf_counter(), time.process_time()
            with contextlib.redirect_stderr(io.StringIO()):
                experiment = launch(lab, parser().parse_args(shlex.split(line)))
                follow(lab, experiment, experiment.runs)
            said = headline(answer_of(lab, experiment))
            took, cores = time.perf_counter() - start, time.process_time() - used
            everything = lab.store.runs()
            training = sum(run.result.seconds for run in everything if run.result)
        finally:
            lab.close()
    return f"{took:.1f} s, {cores:.1f} s of the cores, {len(everything)} runs, {training:.1f} s of training. {said}"


def main() -> None:
    """Time them."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.home", description=__doc__)
    options.add_argument("plans", nargs="*", default=[*PLANS], help=f"some of: {', '.join(PLANS)}")
    for name in options.parse_args().plans:
        print(f"{name}: {timed(PLANS[name])}", flush=True)
    print(machine())


if __name__ == "__main__":
    main()
