"""Recipes: files from which a run can be trained again on any machine, without the store or the base's weights.

A network that somebody imported is named by its digest: on another machine it has to be imported first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from core.adapter.archive import TENSORS, read_entries
from core.engine.jobs.run_files import ADAPTER, NETWORK
from core.errors import AdapterError, SpecError
from core.files import sha256_of
from core.methods.method import Role
from core.reader import reading_here
from core.run_spec import RunSpec
from core.spec import Spec
from core.store.record import Result, Run


class Recipe(Spec):
    """A run's spec, with the device, thread count and result of the run, and the recipe of its base.

    Bit-identical results need the same device and thread count, since rounding depends on both. Of a run that was
    trained in a bank, or whose base was, each step is reproduced up to rounding; this adds up, so that after some
    hundred steps accuracies may differ as between seeds.
    """

    run: str = Field(pattern=r"^r-[a-z0-9-]{1,62}$", title="Run", description="Id of the run that this describes.")
    spec: RunSpec = Field(title="Spec")
    device: str | None = Field(
        None, pattern=r"^(cuda|mps|cpu)$", title="Device", description="Where it was trained; empty if it was not."
    )
    threads: int | None = Field(None, ge=1, le=1024, title="Threads", description="CPU threads it was trained on.")
    bank: int = Field(1, ge=1, le=10_000, title="Bank", description="Number of runs in its bank, including itself.")
    steps: int | None = Field(None, ge=0, title="Steps", description="Optimiser steps taken.")
    stopped: bool = Field(False, title="Stopped", description="Whether it was stopped early by hand.")
    accuracy: float | None = Field(None, ge=0, le=100, title="Accuracy", description="On the test part, in percent.")
    weights: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", title="Weights", description="SHA-256 of the trained weights."
    )
    base: Recipe | None = Field(None, title="Base", description="Recipe of its base; empty if it starts from no run.")

    @model_validator(mode="after")
    def _base_fits_the_spec(self) -> Self:
        if self.base is not None and self.base.spec.role is not Role.BASE:
            raise ValueError("A base must be a pretrain run.")
        if self.base is not None and self.spec.base is None:
            raise ValueError("This run starts from no pretrain run: its recipe takes no base.")
        if self.base is not None and self.base.spec.network != self.spec.network:
            raise ValueError("This run's network and its base have different sizes: the recipe is damaged.")
        return self

    @classmethod
    def of_run(cls, run: Run, weights: str | None, base: Recipe | None = None) -> Recipe:
        """The recipe of a run.

        Args:
            run: as stored.
            weights: SHA-256 of its trained weights, see :func:`weights_digest`; None if they are missing or damaged.
            base: the recipe of its base; None if it starts from no pretrain run, or if the base is unknown.
        """
        result = run.result
        return cls.of(
            run=run.id,
            spec=run.spec,
            device=result.device.split()[0] if result else None,
            threads=result.threads if result else None,
            bank=result.bank if result else 1,
            steps=result.steps if result else None,
            stopped=run.state == "stopped",
            # After divergence the accuracy may be NaN, which JSON cannot express.
            accuracy=_accuracy(result),
            weights=weights,
            base=base,
        )

    @classmethod
    def read(cls, text: str) -> Recipe:
        """A recipe from its JSON, or from the JSON of a spec alone.

        Raises:
            SpecError: it is neither, or out of bounds.
        """
        try:
            return cls.from_json(text)
        except SpecError as error:
            try:
                spec = RunSpec.from_json(text)
            except SpecError:
                raise error from None
            return cls.of(run="r-spec", spec=spec)


def weights_digest(folder: Path, known: Mapping[str, str] | None = None) -> str | None:
    """SHA-256 of the trained weights in a run's folder; None if they are missing or damaged.

    For an adapter it covers the tensors only, since the zip also holds the run's id and duration.

    Args:
        folder: of the run.
        known: SHA-256 of each file when it was written, by name; None skips the comparison.
    """
    adapter = folder / ADAPTER
    path = adapter if adapter.exists() else folder / NETWORK
    try:
        digest = sha256_of(path)
        if known is not None and digest != known.get(path.name):
            return None
        if path != adapter:
            return digest
        with reading_here():
            return hashlib.sha256(read_entries(path)[TENSORS]).hexdigest()
    except (OSError, AdapterError, LookupError):
        return None


def _accuracy(result: Result | None) -> float | None:
    value = result.measures.get("accuracy") if result else None
    return value if value is not None and 0 <= value <= 100 else None
