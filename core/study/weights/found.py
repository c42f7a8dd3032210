"""What the weights say of the answer, in one sentence: where training changed them, and at which rank."""

from __future__ import annotations

from collections.abc import Mapping

from core.numbers import percent
from core.study.arms.candidate import Rule
from core.study.arms.verdict import Verdict
from core.study.arms.verdict_words import SCOPES, name_of
from core.study.weights.spectrum import ENERGY, Spectrum


def found_sentence(
    verdict: Verdict, full: Mapping[str, Spectrum] | None, adapter: Mapping[str, Spectrum] | None, seed: int
) -> str:
    """Say which layer changed most, which rank that change needs, and how that fits the answer; "" without a change.

    Nothing here is tested: the answer is that of the verdict, and is repeated with what its claim is limited to.

    Args:
        verdict: of the experiment.
        full: spectra of full fine-tuning's ΔW by layer, of one seed; None where there are none.
        adapter: the same of the adapter setting that the verdict is about.
        seed: which one.
    """
    of_full, of_adapter = _changed(full), _changed(adapter)
    shown = of_full or of_adapter
    if not shown:
        return ""
    who = "Full fine-tuning" if of_full else _name(verdict, start=True)
    path = max(shown, key=lambda each: shown[each].relative_norm)
    needed = max(spectrum.rank_holding(ENERGY) for spectrum in shown.values())
    size = f"by {percent(100 * shown[path].relative_norm, 0)} of the size of its weight"
    rank = f"{percent(100 * ENERGY, 0)} of the change of a layer takes up to rank {needed}"
    most = f"{who} with seed {seed} changed {path} most, {size}; {rank}"
    return f"{most}; {_answer(verdict, needed if of_full else None)}."


def _answer(verdict: Verdict, needed: int | None) -> str:
    """The answer, and whether the adapter's rank has room for what full fine-tuning needs. Args: needed: that rank."""
    told = verdict.told
    if told is None or verdict.reason or verdict.withheld:
        return "there is no verdict yet to compare that with"
    measure, rank, name = told.arm.spec.objective.primary, told.arm.spec.method.inner_rank, _name(verdict)
    scope = SCOPES[verdict.about]
    known = needed is not None and rank is not None
    has_room = known and rank is not None and needed is not None and rank >= needed
    match verdict.rule:
        case Rule.NONE:
            return f"whether {name} is as good is not decided"
        case Rule.LOWER:
            why = ", although it has that rank" if has_room else ""
            return f"{name} is {measure.worse} than full fine-tuning{scope}{why}"
        case Rule.HIGHER:
            found = f"is {measure.better} than full fine-tuning"
        case _:
            found = "is within the margin of full fine-tuning"
    why = (" with room for that" if has_room else " with less rank than that") if known else ""
    return f"{name} {found}{scope}{why}"


def _name(verdict: Verdict, start: bool = False) -> str:
    name = name_of(verdict.told.arm, verdict) if verdict.told is not None else "the adapter"
    return name[0].upper() + name[1:] if start else name


def _changed(spectra: Mapping[str, Spectrum] | None) -> dict[str, Spectrum]:
    return {path: spectrum for path, spectrum in (spectra or {}).items() if spectrum.rank}
