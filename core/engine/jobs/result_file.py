"""What jobs said, as one file: messages without what only matters while a run trains."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from core.engine.jobs.fault import Fault
from core.engine.jobs.hashed_zip import HashedZip, indexed
from core.engine.jobs.messages import Began, Ended, Failed, Message, Noted, Reported
from core.errors import JobFileError
from core.run_spec import RunSpec
from core.store.record import Result
from core.tensor_file import read_tensors, tensors_bytes
from core.training.events import EpochEnd, StepLoss

FORMAT = "lora-lab-results-1"
RESULTS = "results.json"


@dataclass
class RunResult:
    """What became of one run."""

    run: str
    spec: RunSpec
    base: str | None
    """SHA-256 of the base that it started from."""
    messages: list[Message] = field(default_factory=list)
    """About member 0, in order, the end last."""

    @property
    def is_finished(self) -> bool:
        """Whether the run has a result."""
        return any(isinstance(message, Ended) for message in self.messages)

    @property
    def first_step(self) -> int | None:
        """The first step that the job did, from 1; None if it did none."""
        events = (message.event for message in self.messages if isinstance(message, Reported))
        return next((event.first_step for event in events if isinstance(event, StepLoss)), None)


def entries_of(results: Iterable[RunResult]) -> Iterator[tuple[str, bytes]]:
    """The entries of a file of results: names and contents."""
    told: list[dict[str, Any]] = []
    yield from indexed(_entries(results, told), RESULTS, lambda: {"format": FORMAT, "runs": told})


def _entries(results: Iterable[RunResult], told: list[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    """Curves and files of the runs; ``told`` is filled with what the index says of each run."""
    for one in results:
        events = [message.event for message in one.messages if isinstance(message, Reported)]
        losses = [event for event in events if isinstance(event, StepLoss)]
        epochs = [event for event in events if isinstance(event, EpochEnd)]
        began = next((message for message in one.messages if isinstance(message, Began)), None)
        end = one.messages[-1] if one.messages else None
        files: dict[str, bytes] = {}
        if losses:
            files[f"{one.run}/curve"] = tensors_bytes(
                {
                    "losses": torch.from_numpy(np.concatenate([event.losses for event in losses])),
                    "seconds": torch.from_numpy(np.concatenate([event.seconds for event in losses])),
                },
                {"format": "pt"},
            )
        if isinstance(end, Ended):
            files |= {f"{one.run}/files/{name}": content for name, content in end.files.items()}
        yield from files.items()
        told.append(
            {
                "run": one.run,
                "spec": json.loads(one.spec.to_json()),
                "base": one.base,
                "began": asdict(began) if began else None,
                "first_step": one.first_step,
                "notes": [message.text for message in one.messages if isinstance(message, Noted)],
                "epochs": [_told(event) for event in epochs],
                "result": end.result.to_dict() if isinstance(end, Ended) else None,
                "stopped": end.stopped if isinstance(end, Ended) else False,
                "fault": asdict(end.fault) if isinstance(end, Failed) else None,
            }
        )


def joined(files: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """The entries of a file with the results of several files.

    Raises:
        JobFileError: one is no file of results, or is damaged.
        OSError: one cannot be read.
    """
    told: list[dict[str, Any]] = []
    yield from indexed(_entries_in(files, told), RESULTS, lambda: {"format": FORMAT, "runs": told})


def _entries_in(files: Iterable[Path], told: list[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    for path in files:
        with path.open("rb") as file:
            archive = _opened(file)
            yield from archive.entries()
            told += archive.index["runs"]


def _opened(content: bytes | BinaryIO) -> HashedZip:
    return HashedZip(content, RESULTS, FORMAT, "file of results", "job")


def read_results(content: bytes | BinaryIO) -> list[RunResult]:
    """Read a file of results. Raises: JobFileError: it is not such a file, is damaged, or is of another version."""
    archive = _opened(content)
    data = dict(archive.entries())
    try:
        return [_read(one, data) for one in archive.index["runs"]]
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        if isinstance(error, JobFileError):
            raise
        raise archive.damaged() from error


def _read(values: dict[str, Any], data: dict[str, bytes]) -> RunResult:
    run = str(values["run"])
    found = RunResult(run, RunSpec.from_json(json.dumps(values["spec"])), values["base"])
    if isinstance(began := values["began"], dict):
        found.messages.append(Began(**began))
    found.messages += [Noted(0, str(text)) for text in values["notes"]]
    if f"{run}/curve" in data:
        tensors, _ = read_tensors(data[f"{run}/curve"], "The curve of a run", JobFileError)
        losses, seconds = tensors["losses"].numpy(), tensors["seconds"].numpy()
        found.messages.append(Reported(0, StepLoss(int(values["first_step"]), losses, seconds)))
    found.messages += [Reported(0, _epoch(epoch)) for epoch in values["epochs"]]
    if isinstance(result := values["result"], dict):
        prefix = f"{run}/files/"
        files = {name.removeprefix(prefix): each for name, each in data.items() if name.startswith(prefix)}
        found.messages.append(Ended(0, Result.of(result), files, bool(values["stopped"])))
    elif isinstance(fault := values["fault"], dict):
        found.messages.append(Failed(0, Fault(**fault)))
    return found


def _told(event: EpochEnd) -> dict[str, Any]:
    """An epoch as files of results have it: every value under its own name."""
    values = asdict(event)
    measures: dict[str, Any] = values.pop("measures")
    return values | measures


def _epoch(values: dict[str, Any]) -> EpochEnd:
    """Read what :func:`_told` returned; files of earlier versions say null for what was not measured."""
    own = {about.name for about in fields(EpochEnd)} - {"measures"}
    measures = {name: float(value) for name, value in values.items() if name not in own and value is not None}
    return EpochEnd(**{name: value for name, value in values.items() if name in own}, measures=measures)
