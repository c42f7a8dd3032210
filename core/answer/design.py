"""What a design can show, in sentences: before the press, and after an answer from its own spread."""

from __future__ import annotations

from collections.abc import Sequence

from core.answer.levels import level_text
from core.numbers import count_text
from core.objectives.measure import Measure
from core.rule.spending import CLAIM_SEEDS, GUESSED, Design, level_of, next_look
from core.wording.tasks import noun

TOO_FEW = f"Fewer than {CLAIM_SEEDS} seeds can show nothing."
"""Of a number of seeds with which no claim is possible, whatever the results are."""


def seeds_line(seeds: int) -> str:
    """What a number of seeds can claim at a first look, for a form."""
    if seeds < CLAIM_SEEDS:
        return TOO_FEW
    return (
        f"A first look at {seeds} seeds allows {level_text(level_of(seeds))} of false claims, for all ranks together."
    )


def look_line(seeds: int, looks: Sequence[int]) -> str:
    """What a look at a number of seeds is worth, and which would be worth more. Args: looks: seeds of earlier looks."""
    level, further = level_of(seeds, looks), next_look(max(looks, default=0), looks)
    can = f"allows {level_text(level)} of false claims" if level else "could show nothing"
    more = f"; one at {further} would allow {level_text(level_of(further, looks))}" if seeds < further else ""
    return f"A look at {seeds} seeds {can}{more}."


def power_sentences(
    design: Design, measure: Measure, margin: float, kind: str, seeds: int, looks: Sequence[int] = (), like: str = ""
) -> list[str]:
    """The smallest difference that is shown, what "good enough" takes, and what is out of reach.

    Args:
        design: spreads, test examples and settings.
        measure: the primary one.
        margin: how much worse is good enough.
        kind: of the data.
        seeds: of the look that these sentences are about.
        looks: numbers of seeds of earlier ones.
        like: whose spread that is, where it is not that of the runs themselves.
    """
    assumed = f" if they differ as much as those of {like}" if like else ""
    on = f" on {count_text(design.examples)} test {noun(kind)}" if design.examples > 1 else ""
    smallest, few = design.smallest(seeds, looks), design.is_out_of_reach(margin)
    if smallest is None:
        nothing = TOO_FEW if seeds < CLAIM_SEEDS else f"A look at {seeds} seeds could show nothing."
        return [nothing, *([examples_sentence(design, measure, margin, kind)] if few else [])]
    low, high = (measure.amount_text(smallest / divisor, 1) for divisor in GUESSED)
    unit = f" {measure.difference_unit}" if measure.difference_unit else ""
    sentences = [
        f"A true difference of about {measure.amount_text(smallest, 1)} ({low.removesuffix(unit)} to "
        f"{high.removesuffix(unit)}) would be shown by {seeds} seeds{on} with 80 % probability{assumed}."
    ]
    return [*(sentences if design.varies else []), *_good_enough(design, measure, margin, kind, looks)]


def examples_sentence(design: Design, measure: Measure, margin: float, kind: str) -> str:
    """That "good enough" takes more test examples, and about how many. Args: see :func:`power_sentences`."""
    least = "" if design.varies else "at least "  # without a spread, for methods that answer alike
    return (
        f"“Good enough within {measure.margin_text(margin)}” is out of reach with any number of seeds: it takes "
        f"{least}about {count_text(examples_needed(design, margin))} test {noun(kind)}."
    )


def examples_needed(design: Design, margin: float) -> float:
    """About how many test examples "good enough" takes, in as few digits as show that it is more than there are."""
    exact = design.examples_for(margin)
    rounded = (float(f"{exact:.{digits}g}") for digits in range(1, 7))
    return next((count for count in rounded if count > design.examples), exact)


def _good_enough(design: Design, measure: Measure, margin: float, kind: str, looks: Sequence[int]) -> list[str]:
    within = f"“Good enough within {measure.margin_text(margin)}”"
    if not margin:
        return []
    if design.is_out_of_reach(margin):
        return [examples_sentence(design, measure, margin, kind)]
    needed = design.seeds_for(margin, looks)
    if needed is None:
        return [f"{within} is out of reach: the seeds of such runs differ too much."]
    takes, larger = f"{within} takes about {needed} seeds if the methods are equal", 1 / GUESSED[1]
    most = design.scaled(larger)
    if not most.is_out_of_reach(margin):
        return [f"{takes}."]
    return [
        f"{takes}.",
        f"If the spread over the {count_text(design.examples)} test {noun(kind)} is {larger:.1f} times what "
        "is assumed, it is out of reach with any number of seeds, and takes about "
        f"{count_text(examples_needed(most, margin))} test {noun(kind)}.",
    ]
