"""Dependencies: where a job finds what it refers to, on the machine where it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from core.engine.jobs.base_evaluations import BaseEvaluations
from core.networks.library.networks import Networks
from core.tasks.tasks import Tasks


@dataclass(frozen=True)
class Dependencies:
    """Data, bases and imported networks.

    Specs refer to datasets by names that never change their meaning, to bases by the id of their run, with the SHA-256
    in the job, and to imported networks by the digest of their files.
    """

    tasks: Tasks
    networks: Networks | None = None
    """The networks that somebody imported; None if there are none."""
    base: Callable[[str], Path] | None = None
    """Gives the file of a base's weights, by the id of its run; None if there are no bases."""
    bases: BaseEvaluations = field(default_factory=BaseEvaluations)
    """What is known of bases already."""
