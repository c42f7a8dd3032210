"""The executor ``threads``: a job runs in the worker thread that starts it."""

from __future__ import annotations

from collections.abc import Iterator

from core.engine.jobs.commands import Commands
from core.engine.jobs.executor import Executor
from core.engine.jobs.job import Job
from core.engine.jobs.messages import Message
from core.engine.jobs.run_job import run_job


class ThreadExecutor(Executor):
    """Runs each job in the thread that iterates over its messages."""

    title = "This machine"

    def start(self, job: Job, commands: Commands) -> Iterator[Message]:
        return run_job(job, self.supplies, commands)
