"""What stored networks say when they are measured again, kept while nothing about the runs changes."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.lab import Lab
from core.study.arms.arm import Arm
from core.study.arms.cut import CutArm, Standing
from core.study.stats.claims import ExampleDifference
from core.study.weights.remeasured import Remeasured, base_standings, cut_arms, image_by_image, mean_standing, remeasure


def start_of(lab: Lab, arms: Sequence[Arm]) -> Standing | None:
    """Where the base stood; see :func:`core.study.weights.remeasured.base_standings`. Raises: LabError."""
    return _start(lab, tuple(run.id for arm in arms for run in arm.runs), list(arms))


def cuts_of(lab: Lab, full: Arm, ranks: Sequence[int]) -> list[CutArm]:
    """Full fine-tuning cut to ranks; see :func:`core.study.weights.remeasured.cut_arms`. Raises: LabError."""
    return _cuts(lab, tuple(run.id for run in full.runs), tuple(ranks), full)


def everything_of(lab: Lab, arms: Sequence[Arm]) -> Remeasured:
    """All that a report needs; see :func:`core.study.weights.remeasured.remeasure`."""
    return _everything(lab, tuple(run.id for arm in arms for run in arm.runs), list(arms))


def images_of(lab: Lab, a: str, b: str) -> ExampleDifference:
    """Two runs on the same test images; see :func:`core.study.weights.remeasured.image_by_image`. Raises: LabError."""
    return _images(lab, a, b)


# A finished run never changes, so its id stands for its networks.


@st.cache_data(show_spinner="Measuring the base", max_entries=50)
def _start(_lab: Lab, runs: tuple[str, ...], _arms: list[Arm]) -> Standing | None:
    return mean_standing(list(base_standings(_lab, _arms).values()))


@st.cache_data(show_spinner="Cutting the change of full fine-tuning to each rank", max_entries=50)
def _cuts(_lab: Lab, runs: tuple[str, ...], ranks: tuple[int, ...], _full: Arm) -> list[CutArm]:
    return cut_arms(_lab, _full, ranks)


@st.cache_data(show_spinner="Measuring the stored networks", max_entries=50)
def _everything(_lab: Lab, runs: tuple[str, ...], _arms: list[Arm]) -> Remeasured:
    return remeasure(_lab, _arms)


@st.cache_data(show_spinner="Looking at the test images", max_entries=200)
def _images(_lab: Lab, a: str, b: str) -> ExampleDifference:
    return image_by_image(_lab, _lab.run(a), _lab.run(b))
