"""What the weights say of the answer, in sentences: where training changed them, and at which rank."""

from __future__ import annotations

from collections.abc import Mapping

from core.numbers import capitalized, percent
from core.results.arm import Arm
from core.rule.candidate import Rule
from core.rule.place import Place
from core.study.arms.verdict_words import SCOPES, name_of
from core.study.weights.spectrum import ENERGY, Spectrum


def found_sentences(
    verdict: Place,
    full: Mapping[str, Spectrum] | None,
    arm: Arm | None,
    adapter: Mapping[str, Spectrum] | None,
    seed: int,
) -> str:
    """Say which layer each changed most, which rank holds most of that change, and which one the answer found to be
    enough, which is less where weak directions do not matter; "" without a change.

    Nothing here is tested: the answer is that of the verdict, and is repeated with what its claim is limited to.

    Args:
        verdict: of the experiment.
        full: spectra of full fine-tuning's ΔW by layer, of one seed; None where there are none.
        arm: an adapter setting; None where there is none.
        adapter: the same spectra of it.
        seed: which one.
    """
    of_full, of_adapter = _changed(full), _changed(adapter)
    shown = of_full or of_adapter
    if not shown:
        return ""
    name = name_of(arm, verdict) if arm is not None else "the adapter"
    start = capitalized(name)
    who = "Full fine-tuning" if of_full else start
    sentences = [f"{who} with seed {seed} changed {_most(shown)}."]
    if of_full and of_adapter:
        sentences.append(f"{start} changed {_most(of_adapter)}.")
    head = arm.spec.trained_network.head_paths if arm is not None else ()  # whose change no rank limits
    ranks = [spectrum.rank_holding(ENERGY) for path, spectrum in shown.items() if path not in head]
    needed = max(ranks, default=1)
    whose = "full fine-tuning's change" if of_full else "that change"
    judged = next((each.spec.objective.primary.noun for each in (arm, verdict.full) if each is not None), "the result")
    sentences.append(
        f"To hold {percent(100 * ENERGY, 0)} of the energy of {whose} of a layer takes up to rank {needed}: that is "
        f"its size, and {judged} may need fewer of these directions, which the Rank tab measures."
    )
    answer = _answer(verdict, needed if of_full else None)
    return " ".join([*sentences, f"{capitalized(answer)}."])


def _most(shown: Mapping[str, Spectrum]) -> str:
    """The layer that changed most, and by how much, as in ``layers.0 most, by 64 % of the size of its weight``."""
    path = max(shown, key=lambda each: shown[each].relative_norm)
    return f"{path} most, by {percent(100 * shown[path].relative_norm, 0)} of the size of its weight"


def _answer(verdict: Place, needed: int | None) -> str:
    """The answer, and whether the adapter's rank has room for what full fine-tuning needs. Args: needed: that rank."""
    told = verdict.told
    if told is None or verdict.reason or verdict.withheld:
        return "there is no verdict yet to compare that with"
    measure, rank = told.arm.spec.objective.primary, told.arm.spec.method.inner_rank
    name = name_of(told.arm, verdict)
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
    if not known:
        return f"{name} {found}{scope}"
    room = "has room for that" if has_room else f"is enough for {measure.noun}, although it cannot hold that"
    return f"rank {rank} {room}: {name} {found}{scope}"


def _changed(spectra: Mapping[str, Spectrum] | None) -> dict[str, Spectrum]:
    return {path: spectrum for path, spectrum in (spectra or {}).items() if spectrum.rank}
