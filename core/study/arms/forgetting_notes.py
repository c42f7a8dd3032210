"""Notes on forgetting: what stands for the source, and how to read differences."""

from __future__ import annotations

from collections.abc import Sequence

from core.results.arm import Arm
from core.run_spec import RunSpec
from core.wording.tasks import task_text

NO_SOURCE = "Nothing was learned on a source before this, so there is nothing whose forgetting could be measured."
"""Instead of forgetting, where a network that was imported is fine-tuned as it is."""

UNMEASURED = "Forgetting was not measured: Home and New experiment ask before the start on which texts it is to be."
"""The same of a language model, which could be measured on any texts."""


def no_source(spec: RunSpec) -> str:
    """Why forgetting was not measured where a network was fine-tuned as it was imported."""
    return NO_SOURCE if spec.has_new_head else UNMEASURED


def source_note(spec: RunSpec) -> str:
    """What stands for the source of an imported network, in a sentence; empty where a base has learned the source."""
    if spec.source is None or not spec.is_direct:
        return ""
    what = task_text(spec.source, spec.objective)
    return f"The source is {what}: the network is measured on it as it was imported, and after fine-tuning."


OWN_RATES = (
    "Each setting is at its learning rate and learned the target to its own degree, so a difference here compares "
    "rates as much as methods."
)
"""Under a table of forgetting with several settings."""


def rates_note(arms: Sequence[Arm], is_answered: bool = False) -> str:
    """:data:`OWN_RATES` where there are settings to compare; else empty.

    Args:
        arms: in the table.
        is_answered: whether another table below has them at equal accuracy.
    """
    open_ = "" if is_answered else " Where both learned equally much it may be another one."
    return f"{OWN_RATES}{open_}" if len(arms) > 1 else ""
