"""What the Weights page found, in the sentence that it begins with."""

from __future__ import annotations

from core.errors import LabError
from core.methods.method import Role
from core.study.arms.arm import Arm
from core.study.arms.verdict import Verdict
from core.study.weights.change import run_of_seed
from core.study.weights.found import found_sentence
from core.study.weights.spectrum import Spectrum
from pages.weights.effort import is_quick
from pages.weights.focus import Focus
from pages.weights.numbers import each, spectrum_of


def what_was_found(focus: Focus, found: Verdict) -> str:
    """Say what training changed and how that fits the answer; of a large network, what its adapter changed.

    Decomposing ΔW of every layer of a large network takes minutes, those of an adapter seconds.
    """
    told = found.told.arm if found.told is not None else _adapter(focus)
    full = focus.full if is_quick(focus) else None
    try:
        spectra = [_spectra(focus, arm) if arm is not None else None for arm in (full, told)]
    except LabError:  # a file is gone, which the open tab says if it needs it
        return ""
    return found_sentence(found, *spectra, focus.seed)


def _adapter(focus: Focus) -> Arm | None:
    return next((arm for arm in focus.arms if arm.role is Role.ADAPTER), None)


def _spectra(focus: Focus, arm: Arm) -> dict[str, Spectrum]:
    run = run_of_seed(arm, focus.seed)
    paths = list(focus.shapes)
    spectra = each(paths, lambda path: spectrum_of(focus.lab, run, path), "Reading the weights")
    return dict(zip(paths, spectra, strict=True))
