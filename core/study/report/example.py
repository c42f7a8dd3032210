"""A real experiment that ships with the project: Home shows its answer where there is none yet."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.files import write_atomically
from core.objectives.measure import Values
from core.results.results import Outcomes, Results
from core.results.row import Row, rows_of
from core.rule.decide import decide
from core.rule.place import Place
from core.store.record import Result, Run, spec_of

FILE = Path(__file__).with_name("example.json.gz")
"""The experiment that :func:`example` reads; ``docs/reports/make.py`` trains it anew."""


@dataclass(frozen=True)
class Example:
    """All that is kept of the experiment."""

    name: str
    runs: tuple[Run, ...]
    """All its runs, finished, in the order in which they were queued."""
    hits: Mapping[str, NDArray[np.bool_]]
    """(n,) whether each test image is classified correctly, by run id, of the runs that the verdict is about."""

    def tested(self, row: Row) -> Values | None:
        """The accuracy of a row on each test image, in percent."""
        return np.where(self.hits[row.id], 100.0, 0.0) if row.id in self.hits else None


@cache
def example() -> Example:
    """The experiment of :data:`FILE`."""
    stored = json.loads(gzip.decompress(FILE.read_bytes()))
    count = stored["images"]
    runs = tuple(_run(place, spec, Result.of(result)) for place, (spec, result, _) in enumerate(stored["runs"]))
    hits = {
        run.id: np.unpackbits(np.frombuffer(b64decode(bits), np.uint8), count=count).astype(bool)
        for run, (*_, bits) in zip(runs, stored["runs"], strict=True)
        if bits
    }
    return Example(stored["name"], runs, hits)


@cache
def example_verdict() -> Place:
    """The verdict of :func:`example`, at the first look."""
    shown = example()
    return decide(Results(rows_of(shown.runs), shown.tested)).place


def write_example(path: Path, name: str, runs: Sequence[Run], tested: Outcomes) -> None:
    """Write an experiment as :func:`example` reads it.

    Args:
        path: file to write, compressed JSON.
        name: of the experiment.
        runs: all its runs, each with a result; judged by accuracy.
        tested: has the accuracy of each test image of those that the verdict is about.

    Raises:
        ValueError: a run has no result.
    """
    asked: dict[str, Values] = {}

    def recording(row: Row) -> Values | None:
        found = tested(row)
        if found is not None:
            asked[row.id] = found
        return found

    decide(Results(rows_of(runs), recording))
    kept = [
        (run.spec.to_json(), run.result.to_dict(), _bits(asked[run.id]) if run.id in asked else "")
        for run in runs
        if run.result is not None
    ]
    if len(kept) < len(runs):
        raise ValueError("Every run of the example has a result.")
    images = max((len(values) for values in asked.values()), default=0)
    content = {"name": name, "images": images, "runs": kept}
    # Without a time inside, the same runs give the same file.
    write_atomically(path, gzip.compress(json.dumps(content).encode(), mtime=0))


def _bits(values: Values) -> str:
    return b64encode(np.packbits(values > 0).tobytes()).decode()


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
