"""The memory of the process that trained a run, measured, beside the forecast that was kept when it was queued.

It is that of all runs of a bank together. Full fine-tuning in a bank of 4 took 20 MB where LoRA in one of 16 took 60,
and alone they need 3.8 and 4.6: so settings are compared by the memory that is counted for each run
(:data:`core.results.measures.MEMORY_NOTE`), and these two say what the machine has to have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.forecast.forecast import Forecast
from core.numbers import NOTHING, bytes_text
from core.results.arm import Arm
from core.store.record import Run

TRAINED_MEMORY_NOTE = (
    "That of the process is for all runs that it trained together: what was forecast when they were queued, and by how "
    "much it grew, as measured; the run with the most counts. Banks differ in size, so it compares no settings."
)
"""How to read the columns of :func:`memory_columns`."""


@dataclass(frozen=True)
class TrainedMemory:
    """Memory of the process while a run was trained, alone or in a bank."""

    forecast: int
    """Bytes that were expected."""
    measured: int
    """Bytes by which the process grew; see :attr:`core.store.record.Result.peak_memory`."""
    bank: int
    """Number of runs that were trained together, this one included."""

    @property
    def sentence(self) -> str:
        """Both, as in ``Memory of the process with this bank of 8: forecast 50.1 MB, measured 48.3 MB.``"""
        trained = f"this bank of {self.bank}" if self.bank > 1 else "this run alone"
        return (
            f"Memory of the process with {trained}: forecast {bytes_text(self.forecast)}, "
            f"measured {bytes_text(self.measured)}."
        )

    @property
    def measured_text(self) -> str:
        """What was measured, as in ``48.3 MB, bank of 8``."""
        return f"{bytes_text(self.measured)}, bank of {self.bank}" if self.bank > 1 else bytes_text(self.measured)


def trained_memory(runs: Iterable[Run], forecasts: Mapping[str, Forecast]) -> TrainedMemory | None:
    """The memory of the run that took most; None where no run has both a forecast and a measurement.

    Args:
        runs: of one setting.
        forecasts: kept at launch, by run id.
    """
    known = [
        TrainedMemory(forecasts[run.id].memory, run.result.peak_memory, run.result.bank)
        for run in runs
        if run.id in forecasts and run.result is not None and run.result.peak_memory is not None
    ]
    return max(known, key=lambda one: one.measured, default=None)


def memory_columns(arms: Sequence[Arm], forecasts: Mapping[str, Forecast]) -> dict[str, list[str]]:
    """Columns of a table with a row per arm: forecast and measured memory; none where nothing was measured.

    Args:
        arms: the rows.
        forecasts: kept at launch, by run id.
    """
    found = [trained_memory(arm.runs, forecasts) for arm in arms]
    if not any(found):
        return {}
    return {
        "Process, forecast": [bytes_text(one.forecast) if one else NOTHING for one in found],
        "Process, measured": [one.measured_text if one else NOTHING for one in found],
    }
