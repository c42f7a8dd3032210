"""A real experiment that ships with the project: Home shows its answer where there is none yet."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from core.files import write_atomically
from core.store.record import Result, Run, spec_of
from core.study.stats.images import CrossedInterval
from core.study.stats.intervals import Interval

FILE = Path(__file__).with_name("example.json.gz")
"""The experiment that :func:`example` reads; ``docs/reports/make.py`` trains it anew."""


@dataclass(frozen=True)
class Example:
    """All that is kept of the experiment."""

    name: str
    runs: tuple[Run, ...]
    """All its runs, finished, in the order in which they were queued."""
    over_images: CrossedInterval
    """The difference that its verdict is about, over seeds and test images."""


@cache
def example() -> Example:
    """The experiment of :data:`FILE`."""
    stored = json.loads(gzip.decompress(FILE.read_bytes()))
    over = stored["over_images"]
    crossed = CrossedInterval(Interval(**over["seeds"]), Interval(**over["crossed"]), over["images"], over["wider"])
    runs = tuple(_run(place, spec, Result.of(result)) for place, (spec, result) in enumerate(stored["runs"]))
    return Example(stored["name"], runs, crossed)


def write_example(path: Path, name: str, runs: Sequence[Run], over_images: CrossedInterval) -> None:
    """Write an experiment as :func:`example` reads it.

    Args:
        path: file to write, compressed JSON.
        name: of the experiment.
        runs: all its runs, each with a result.
        over_images: of its verdict.

    Raises:
        ValueError: a run has no result.
    """
    rows = [(run.spec.to_json(), run.result.to_dict()) for run in runs if run.result is not None]
    if len(rows) < len(runs):
        raise ValueError("Every run of the example has a result.")
    content = {"name": name, "over_images": asdict(over_images), "runs": rows}
    # Without a time inside, the same runs give the same file.
    write_atomically(path, gzip.compress(json.dumps(content).encode(), mtime=0))


def _run(place: int, spec: str, result: Result) -> Run:
    return Run(
        id=f"example-{place}",
        spec=spec_of(spec),
        state="finished",
        experiment="example",
        created=0.0,
        started=0.0,
        ended=0.0,
        cause=None,
        traceback=None,
        result=result,
        step=result.steps,
        steps=result.steps,
        training_seconds=result.seconds,
        examples_per_second=result.examples_per_second,
        plan="complete",
    )
