"""``python -m core jobs``, ``job`` and ``collect``: train runs elsewhere, by any scheduler."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from core.cli.options import NOTHING_KEPT, add_home, opened_lab
from core.cli.progress import ProgressBar
from core.engine.jobs.commands import Commands
from core.engine.jobs.dependencies import Dependencies
from core.engine.jobs.hashed_zip import write_file
from core.engine.jobs.job import Job
from core.engine.jobs.job_file import unpacked
from core.engine.jobs.messages import Began, Message, Reported
from core.engine.jobs.result_file import RunResult
from core.engine.jobs.results import ResultParts, results_of
from core.engine.jobs.run_job import run_job
from core.errors import JobFileError, LabError, os_error_as
from core.training.events import StepLoss


def jobs_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Take the runs of an experiment that wait off the queue, and write them into files, each with its data, base "
        "and network. Train each file with `python -m core job`, and put the results back with `python -m core "
        "collect`."
    )
    parser.set_defaults(command=send)
    parser.add_argument("experiment", metavar="EXPERIMENT", help="its id, as in the address of the Compare page")
    parser.add_argument("--split", type=int, default=1, metavar="N", help="number of files (default: 1)")
    parser.add_argument(
        "--out", type=Path, default=Path(), metavar="FOLDER", help="where to write them (default: here)"
    )
    add_home(parser)


def job_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Train what a file of `python -m core jobs` contains, and write a file of results beside it. Until all jobs "
        "have ended, the results of each are kept in a file of their own. Nothing else is read or written."
    )
    parser.set_defaults(command=train, kept=NOTHING_KEPT)
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--out", type=Path, metavar="RESULT", help="file of results (default: FILE with .results.zip)")


def collect_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.set_defaults(command=collect)
    parser.add_argument("files", type=Path, nargs="+", metavar="RESULT")
    add_home(parser)


def send(options: argparse.Namespace) -> int:
    """Write files of jobs, and print their names."""
    if not 1 <= options.split <= 1000:
        raise JobFileError(f"--split takes 1 to 1,000 files, not {options.split}.")
    _check_folder(options.out, options.out)  # before the runs are taken off the queue
    with opened_lab(options) as lab:
        experiment = lab.experiment(options.experiment)
        with lab.present():  # otherwise a dashboard takes over the runs that are about to be sent
            files = lab.job_files.send(experiment, options.split)
        for number, entries in enumerate(files, start=1):
            path = options.out / f"{experiment.id}-{number}-of-{len(files)}.jobs.zip"
            write_file(path, entries)
            print(path)
    return 0


def train(options: argparse.Namespace) -> int:
    """Train a file of jobs, and write its results. Returns: 0, or 1 if a run has no result."""
    out = options.out or options.file.with_name(f"{options.file.name.removesuffix('.jobs.zip')}.results.zip")
    _check_target(out)
    fitting: dict[str, int] = {}
    is_finished = True
    with tempfile.TemporaryDirectory() as home:
        with _opened(options.file) as file:
            jobs, dependencies = unpacked(file, Path(home))
        parts = ResultParts(out, len(jobs))
        try:
            for number, job in enumerate(jobs, start=1):
                found: list[RunResult] = []
                try:
                    found.extend(results_of(job, _training(dependencies, f"job {number} of {len(jobs)}"), fitting))
                finally:  # also what has ended of a job that a signal ends
                    parts.add(number, found)
                    options.kept = _kept(parts)
                is_finished &= all(one.is_finished for one in found)
            parts.join()
        except LabError:
            print(_kept(parts), file=sys.stderr)
            raise
    print(out)
    return 0 if is_finished else 1


def _training(dependencies: Dependencies, title: str) -> Callable[[Job], Iterable[Message]]:
    """What trains a job, and shows how far it is."""

    def train(job: Job) -> Iterable[Message]:
        described = f"{title}: {job.specs[0].label}, {len(job.members)} runs"
        return _shown(run_job(job, dependencies, Commands()), described)

    return train


def _kept(parts: ResultParts) -> str:
    """What is kept if training ends now."""
    if not parts.pattern:
        return NOTHING_KEPT
    return f"The results of the runs that had ended are in {parts.pattern}: collect these files."


def _check_target(out: Path) -> None:
    """Check before hours of training that a file can be written. Raises: JobFileError: it cannot."""
    if os.path.isdir(out):
        raise JobFileError(f"{out} is a folder: name a file in it.")
    _check_folder(out.absolute().parent, out)


def _check_folder(folder: Path, named: Path) -> None:
    """Make a folder, and check that files can be written there. Raises: JobFileError: what was named cannot be."""
    with os_error_as(JobFileError, f"{named} cannot be written"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def collect(options: argparse.Namespace) -> int:
    """Put results into the home folder, and print what became of each run. Returns: 0, or 1 if one has no result."""
    runs = []
    # Otherwise a dashboard takes over the runs whose results are written.
    with opened_lab(options) as lab, lab.present():
        for path in options.files:
            with _opened(path) as file:
                runs += lab.job_files.collect(file)
        before = {run.id for run in lab.live()}
        lab.extend_plans()
        for experiment in {run.experiment for run in lab.live() if run.id not in before}:
            print(f"More rates are to be tried: python -m core jobs {experiment}", file=sys.stderr)
    for run in runs:
        print(f"{run.id}: {run.state}{f'. {run.cause}' if run.cause else ''}")
    return 0 if all(run.result for run in runs) else 1


def _shown(messages: Iterable[Message], title: str) -> Iterable[Message]:
    """Pass messages on, and show on stderr how far they are."""
    total = done = 0
    with ProgressBar(title, "step") as shown:
        for message in messages:
            match message:
                case Began(steps=steps):
                    total += steps
                    shown.show(done, total=total)
                case Reported(event=StepLoss(losses=losses)):
                    done += len(losses)
                    shown.show(done)
            yield message


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file to be read. Raises: JobFileError: it cannot be read."""
    with os_error_as(JobFileError, f"{path} cannot be read"), path.open("rb") as file:
        yield file
