"""What it takes to train a run again, somewhere else: a file that needs neither the store nor the base's weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from core.adapter.archive import TENSORS, read_entries
from core.engine.job import ADAPTER, NETWORK
from core.errors import AdapterError, SpecError
from core.files import sha256_of
from core.spec import RunSpec, Spec
from core.store.record import Run


class Recipe(Spec):
    """A run's spec, what its numbers hang on besides, and the same of its base.

    Equal numbers need the same device and thread count: rounding differs with both. A run that was trained in a
    bank, or whose base was, comes out the same to rounding only.
    """

    run: str = Field(pattern=r"^r-[a-z0-9-]{1,62}$", title="Run", description="Id of the run that this comes from.")
    spec: RunSpec = Field(title="Spec")
    device: str | None = Field(
        None, pattern=r"^(cuda|mps|cpu)$", title="Device", description="Where it was trained; empty before it was."
    )
    threads: int | None = Field(None, ge=1, le=1024, title="Threads", description="CPU threads it was trained on.")
    bank: int = Field(1, ge=1, le=10_000, title="Bank", description="Runs that were trained together with it.")
    steps: int | None = Field(None, ge=0, title="Steps", description="Optimiser steps that it took.")
    stopped: bool = Field(False, title="Stopped", description="Whether somebody stopped it before its end.")
    accuracy: float | None = Field(None, ge=0, le=100, title="Accuracy", description="On the test part, in percent.")
    weights: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", title="Weights", description="SHA-256 of the weights that came of it."
    )
    base: Recipe | None = Field(None, title="Base", description="How its base is trained; empty for a pretrain run.")

    @model_validator(mode="after")
    def _base_fits_the_spec(self) -> Self:
        if self.base is not None and self.base.spec.method != "pretrain":
            raise ValueError("A base must be a pretrain run.")
        if self.base is not None and self.spec.base is None:
            raise ValueError("A pretrain run starts from random weights: its recipe takes no base.")
        if self.base is not None and self.base.spec.model != self.spec.model:
            raise ValueError("This run's network has other sizes than its base: the recipe is damaged.")
        return self

    @classmethod
    def of_run(cls, run: Run, weights: str | None, base: Recipe | None = None) -> Recipe:
        """The recipe of a run.

        Args:
            run: as the store knows it.
            weights: SHA-256 of the weights that it left, as of :func:`weights_digest`; None where they are not sound.
            base: the recipe of the run that it started from, where it did and that is known.
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
            # A network that went astray may have no accuracy at all; JSON has no word for that.
            accuracy=result.accuracy if result and 0 <= result.accuracy <= 100 else None,
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
    """SHA-256 of the weights that a run left in its folder; None where they are not there, or damaged.

    Of an adapter only the tensors count: its zip also holds the run's id and how long it took.

    Args:
        folder: of the run.
        known: SHA-256 of its files by name, as they were when they were written; None trusts the files.
    """
    adapter = folder / ADAPTER
    path = adapter if adapter.exists() else folder / NETWORK
    try:
        digest = sha256_of(path)
        if known is not None and digest != known.get(path.name):
            return None
        return hashlib.sha256(read_entries(path)[TENSORS]).hexdigest() if path == adapter else digest
    except (OSError, AdapterError, LookupError):
        return None
