"""``python -m core jobs``, ``job`` and ``collect``: train runs elsewhere, by any scheduler."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from core.cli.options import NOTHING_KEPT, add_home
from core.engine.jobs.commands import Commands
from core.engine.jobs.job_file import unpacked
from core.engine.jobs.messages import Began, Message, Reported
from core.engine.jobs.result_file import entries_of, results_of
from core.engine.jobs.run_job import run_job
from core.errors import JobFileError, LabError
from core.files import written_atomically
from core.lab import Lab
from core.settings import Settings
from core.training.events import StepLoss
from core.zip_file import write_zip


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to a parser."""
    found = commands.add_parser(
        "jobs",
        help="write an experiment's waiting runs into files, to train them elsewhere",
        description="Take the runs of an experiment that wait off the queue, and write them into files, each with its "
        "data, base and network. Train each file with `python -m core job`, and put the results back with "
        "`python -m core collect`.",
    )
    found.set_defaults(command=send)
    found.add_argument("experiment", metavar="EXPERIMENT", help="its id, as in the address of the Compare page")
    found.add_argument("--split", type=int, default=1, metavar="N", help="number of files (default: 1)")
    found.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="where to write them (default: here)")
    add_home(found)
    found = commands.add_parser(
        "job",
        help="train a file of jobs, without a home folder",
        description="Train what a file of `python -m core jobs` contains, and write a file of results beside it. "
        "Nothing else is read or written.",
    )
    found.set_defaults(command=train, kept=NOTHING_KEPT)
    found.add_argument("file", type=Path, metavar="FILE")
    found.add_argument("--out", type=Path, metavar="RESULT", help="file of results (default: FILE with .results.zip)")
    found = commands.add_parser(
        "collect", help="put the results of jobs that were trained elsewhere into a home folder"
    )
    found.set_defaults(command=collect)
    found.add_argument("files", type=Path, nargs="+", metavar="RESULT")
    add_home(found)


def send(options: argparse.Namespace) -> int:
    """Write files of jobs, and print their names."""
    if not 1 <= options.split <= 1000:
        raise JobFileError(f"--split takes 1 to 1,000 files, not {options.split}.")
    lab = Lab(Settings.from_environment(options.home))
    try:
        experiment = lab.experiment(options.experiment)
        with lab.present():  # otherwise a dashboard takes over the runs that are about to be sent
            files = lab.job_files.send(experiment, options.split)
        for number, entries in enumerate(files, start=1):
            path = options.out / f"{experiment.id}-{number}-of-{len(files)}.jobs.zip"
            _write(path, entries)
            print(path)
    finally:
        lab.close()
    return 0


def train(options: argparse.Namespace) -> int:
    """Train a file of jobs, and write its results. Returns: 0, or 1 if a run has no result."""
    out = options.out or options.file.with_name(f"{options.file.name.removesuffix('.jobs.zip')}.results.zip")
    with tempfile.TemporaryDirectory() as home:
        jobs, supplies = unpacked(_read(options.file), Path(home))
        results = []
        for number, job in enumerate(jobs, start=1):
            title = f"job {number} of {len(jobs)}: {job.specs[0].label}, {len(job.members)} runs"
            results += results_of(job, _shown(run_job(job, supplies, Commands()), title))
        _write(out, entries_of(results))
    print(out)
    return 0 if all(one.is_finished for one in results) else 1


def collect(options: argparse.Namespace) -> int:
    """Put results into the home folder, and print what became of each run. Returns: 0, or 1 if one has no result."""
    lab = Lab(Settings.from_environment(options.home))
    try:
        with lab.present():  # otherwise a dashboard takes over the runs whose results are written
            runs = [run for path in options.files for run in lab.job_files.collect(_read(path))]
    finally:
        lab.close()
    for run in runs:
        print(f"{run.id}: {run.state}{f'. {run.cause}' if run.cause else ''}")
    return 0 if all(run.result for run in runs) else 1


def _shown(messages: Iterable[Message], title: str) -> Iterable[Message]:
    """Pass messages on, with a progress bar on stderr."""
    with tqdm(file=sys.stderr, unit="step", desc=title, total=0) as bar:
        for message in messages:
            match message:
                case Began(steps=steps):
                    bar.total = (bar.total or 0) + steps
                    bar.refresh()
                case Reported(event=StepLoss(losses=losses)):
                    bar.update(len(losses))
            yield message


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise JobFileError(f"{path} cannot be read: {error.strerror or error}.") from error


def _write(path: Path, entries: Iterable[tuple[str, bytes]]) -> None:
    try:
        with written_atomically(path) as file:
            write_zip(file, entries)
    except LabError:
        raise
    except OSError as error:
        raise JobFileError(f"{path} cannot be written: {error.strerror or error}.") from error
