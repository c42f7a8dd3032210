"""Tables of results as other tools write them."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from core.cli.judge import judged_as_json
from core.judge.reading import Reading
from core.judge.results import Gathered, gather
from core.judge.sources import Given
from core.lab import Lab
from core.study.report.judged import JudgedEvidence, judged_evidence, keep_results

SEEDS = 8
RATES = (0.000316, 0.001, 0.00316)
METHODS: Mapping[tuple[str, int | None], float] = {("full", None): 90.0, ("lora", 4): 90.2, ("vera", 256): 80.0}
"""What each method and rank reaches on average at its best rate."""


def csv_of(rows: Iterable[Mapping[str, object]]) -> bytes:
    """A CSV file with a column for each key."""
    everything = list(rows)
    names = list(dict.fromkeys(name for row in everything for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="")
    writer.writeheader()
    writer.writerows(everything)
    return text.getvalue().encode()


def rows_of(
    seeds: Sequence[int] = range(SEEDS),
    rates: Sequence[float] = RATES,
    methods: Mapping[tuple[str, int | None], float] = METHODS,
) -> list[dict[str, object]]:
    """Runs whose best rate is the middle one, with the same numbers each time."""
    found: list[dict[str, object]] = []
    for (method, rank), mean in methods.items():
        for rate in rates:
            for seed in seeds:
                noise = random.Random(f"{method} {rank} {rate} {seed}")
                reached = mean - (0 if rate == RATES[1] else 4) + noise.gauss(0, 0.2)
                row: dict[str, object] = {"method": method, "rank": "" if rank is None else rank}
                row |= {"learning_rate": rate, "seed": seed}
                row |= {"validation": reached - 0.5 + noise.gauss(0, 0.1), "accuracy": reached}
                found.append(row)
    return found


def read(content: bytes, name: str = "results.csv", **reading: object) -> Gathered:
    """Read one file."""
    return gather([Given(name, content)], Reading.of(**reading))


def judged(lab: Lab, content: bytes, *more: bytes, **reading: object) -> JudgedEvidence:
    """Keep and judge a file, and others beside it."""
    files = [Given(f"results-{place}.csv", each) for place, each in enumerate((content, *more))]
    return judged_files(lab, files, **reading)


def judged_files(lab: Lab, files: Sequence[Given], **reading: object) -> JudgedEvidence:
    """Keep and judge files of which nothing is asked."""
    found = gather(files, Reading.of(**reading))
    assert found.questions == []
    return judged_evidence(lab, keep_results(lab, found, "Results"))


def asked(found: Gathered) -> list[str]:
    """The fields that are asked for."""
    return [question.field for question in found.questions]


def verdict_of(answer: JudgedEvidence) -> dict[str, object]:
    """The verdict as ``--json`` prints it."""
    found: dict[str, object] = judged_as_json(answer)["verdict"]
    return found


def written(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write files into a folder; return their paths."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]
