"""Results of several jobs: a file for each job as soon as it has ended, and in the end one file of all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.engine.jobs.hashed_zip import write_file
from core.engine.jobs.result_file import RunResult, entries_of, joined
from core.errors import JobFileError, os_error_as

ENDING = ".results.zip"


class ResultParts:
    """Files with the results of one job each, beside the file that is to have the results of all.

    Each is whole or not there, so that a process which is ended loses the results of no job that had ended before.
    """

    def __init__(self, out: Path, count: int) -> None:
        """Args: out: the file of all results; count: number of jobs."""
        self._out, self._count = out, count
        self._files: list[Path] = []

    @property
    def pattern(self) -> str:
        """What the names of the files have in common; empty if there are none."""
        return str(self._path("*")) if self._files else ""

    def add(self, number: int, results: Sequence[RunResult]) -> None:
        """Write what runs of a job came to, if any has ended. Raises: JobFileError: it cannot be written."""
        if results:
            path = self._path(str(number))
            write_file(path, entries_of(results))
            self._files.append(path)

    def join(self) -> None:
        """Write the file of all results, and delete those of single jobs. Raises: JobFileError: it is not written."""
        with os_error_as(JobFileError, f"{self._out} cannot be written"):
            if len(self._files) == 1:
                self._files[0].replace(self._out)
            else:
                write_file(self._out, joined(self._files))
                for file in self._files:
                    file.unlink()

    def _path(self, number: str) -> Path:
        stem = self._out.name.removesuffix(ENDING).removesuffix(".zip")
        return self._out.with_name(f"{stem}-job-{number}-of-{self._count}{ENDING}")
