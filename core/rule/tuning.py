"""Which learning rates each method tried, which one validation chose, and what an experiment can be grown by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.methods.full import FullSpec
from core.methods.method import Role
from core.methods.registry import method_of
from core.networks.network import NetworkSpec
from core.networks.registry import FAMILIES
from core.numbers import counted, listed, seeds_text
from core.plan.experiment import Recipe, with_ranks
from core.plan.search import tuned_arms
from core.results.arm import Arm
from core.results.choice import comparisons_of, winners
from core.results.grid import (
    LONGER,
    SETTLED_DIGITS,
    are_neighbors,
    grid_rate,
    most_epochs,
    neighbors_of,
    validated_mean,
)
from core.results.row import Row
from core.results.setting import Setting, order, tuning_groups
from core.run_spec import default_rate, optim_for


def is_tuned(settings: Iterable[Setting]) -> bool:
    """Whether some method, rank or control was trained in several ways among which validation can choose."""
    return any(len(own) > 1 for own in tuning_groups(settings))


@dataclass(frozen=True)
class RatesTried:
    """Labels of methods, ranks and controls, by whether they were trained at several learning rates."""

    several: tuple[str, ...]
    one: tuple[str, ...]


def rates_tried(settings: Iterable[Setting]) -> RatesTried:
    """Which methods, ranks and controls were trained at several learning rates, in the order of settings."""
    groups = tuning_groups(settings)
    one = [own[0].label for own in groups if len({setting.learning_rate for setting in own}) == 1]
    several = [own[0].label for own in groups if own[0].label not in one]
    return RatesTried(tuple(dict.fromkeys(several)), tuple(dict.fromkeys(one)))


def name_in_sentence(label: str) -> str:
    """A label as sentences have it: full fine-tuning is written out."""
    return "full fine-tuning" if label == FullSpec().label else label


def reference_name(full: Arm | None) -> str:
    """What others are compared with, in a sentence: full fine-tuning, but where reported results have another one."""
    return "full fine-tuning" if full is None else name_in_sentence(full.setting.label)


def rate_words(arm: Arm) -> str:
    """A setting's learning rate behind its name, as in `` at learning rate 0.01``; empty where it is not reported."""
    return f" at learning rate {arm.learning_rate:g}" if arm.learning_rate else ""


@dataclass(frozen=True)
class RateChoice:
    """The learning rate that validation chose for one method, rank or control."""

    arm: Arm
    tried: tuple[float, ...]
    """Rates among which it was chosen, ascending."""
    ways: int
    """Settings among which it was chosen: more than there are rates where alpha or layers were varied as well."""
    ratio: float | None
    """Ratio of the rate to that chosen for full fine-tuning; None where either was not chosen."""
    seeds: tuple[int, ...]
    """Seeds over which the primary measure on the validation part was averaged."""
    walls: tuple[float, ...] = ()
    """Rates at which a seed failed, as where training diverged."""
    runs: int = 0
    """Number of runs of all these settings that have ended."""
    seconds: float = 0.0
    """Training time of these runs together."""
    ranked: bool = True
    """Whether validation chose it; False where nothing tells the settings of its group apart, so that each has a
    choice of its own."""
    is_flat: bool = False
    """Whether the rate beside an end was exactly as good, so that nothing points beyond it."""
    epochs: int | None = None
    """Number of epochs that all of these settings have, where others were trained for another number; else None."""

    @property
    def epochs_words(self) -> str:
        """Its number of epochs behind what is said of the rates tried, as in `` with 90 epochs``; else empty."""
        return f" with {counted(self.epochs, 'epoch')}" if self.epochs is not None else ""

    @property
    def is_searched(self) -> bool:
        """Whether the rates were searched for; see :mod:`core.plan.search`."""
        return self.arm.rows[0].plan is not None

    @property
    def at_end(self) -> str | None:
        """``lowest`` or ``highest`` where a better rate may lie beyond those tried."""
        rate, tried = self.arm.learning_rate, self.tried
        if len(tried) < 2 or tried[0] < rate < tried[-1] or self.is_flat or not self.ranked:
            return None
        return "lowest" if rate == tried[0] else "highest"


def rate_choices(rows: Iterable[Row]) -> list[RateChoice]:
    """The rate chosen in each tuning group, full fine-tuning first; see :mod:`core.results.choice`."""
    everything, found = list(rows), []
    trained: dict[object, set[int]] = {}
    for row in everything:
        if row.setting.role in (Role.REFERENCE, Role.ADAPTER):
            trained.setdefault(row.setting.comparison, set()).add(row.setting.epochs)
    for arms in comparisons_of(everything):
        chosen = winners(arms)
        count = Counter(arm.setting.group for arm in chosen)
        full = next((arm for arm in chosen if arm.role is Role.REFERENCE and count[arm.setting.group] == 1), None)
        for arm in chosen:
            tried = [other for other in arms if other.setting.group == arm.setting.group]
            tried = [other for other in tried if other.finished or other.failed]
            ranked = count[arm.setting.group] == 1
            own = {other.setting.epochs for other in tried}
            others = trained.get(arm.setting.comparison, set()) - own
            found.append(
                RateChoice(
                    arm.finished_only,
                    tuple(sorted({other.learning_rate for other in tried})),
                    len(tried),
                    arm.learning_rate / full.learning_rate
                    if full is not None and full.learning_rate and ranked
                    else None,
                    arm.judged,
                    tuple(sorted({other.learning_rate for other in tried if other.failed})),
                    sum(not row.is_live for other in tried for row in other.rows),
                    sum(row.seconds for other in tried for row in other.rows),
                    ranked,
                    _is_flat(arm, tried),
                    own.pop() if others and len(own) == 1 else None,
                )
            )
    return sorted(found, key=lambda choice: order(choice.arm.setting))


def _is_flat(chosen: Arm, tried: Iterable[Arm]) -> bool:
    """Whether the next higher rate, all else alike, was as good to the last digit that counts."""
    higher = [
        arm for arm in tried if arm.setting.differs_in_rate(chosen.setting) and arm.learning_rate > chosen.learning_rate
    ]
    beside = min(higher, key=lambda arm: arm.learning_rate, default=None)
    means = [validated_mean(arm, chosen.judged) for arm in (chosen, beside) if arm is not None]
    return len(means) == 2 and None not in means and len({round(mean or 0.0, SETTLED_DIGITS) for mean in means}) == 1


def one_per_group(choices: Iterable[RateChoice]) -> list[RateChoice]:
    """One choice for each method, rank and control, also where nothing was chosen among several."""
    return list({choice.arm.setting.group: choice for choice in choices}.values())


def choice_sentence(choices: Sequence[RateChoice]) -> str:
    """How the rates were chosen, where nothing was, and how those of LoRA relate to that of full fine-tuning."""
    ranked = [choice for choice in choices if choice.ranked]
    open_ = [name_in_sentence(c.arm.setting.label) for c in one_per_group(choices) if not c.ranked]
    unranked = f"Nothing ranks the settings of {listed(open_)}, so none was chosen there." if open_ else ""
    return " ".join(filter(None, [_ranked_sentences(ranked), unranked]))


def _ranked_sentences(choices: Sequence[RateChoice]) -> str:
    if not choices:
        return ""
    counts = sorted({choice.ways for choice in choices})
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    how = f"at {many} learning rates" if all(len(c.tried) == c.ways for c in choices) else f"in {many} ways"
    objective = choices[0].arm.setting.objective
    mean = f"{objective.primary.noun}{' on the validation part' * objective.has_test_part}"
    alike = len({choice.seeds for choice in choices}) == 1
    seeds = seeds_text(choices[0].seeds) if alike else "the seeds that could be compared"
    epochs = {choice.epochs_words for choice in choices}
    longest = epochs.pop() if len(epochs) == 1 else ""
    if any(choice.is_searched for choice in choices):
        how = how if longest else f"with {how.removeprefix('at ')}"
        how += ", as many as it took until the best lay between two others"
        how += ", with the fewest epochs within half a margin of the best" if any(c.arm.tried for c in choices) else ""
    sentences = [
        f"Each setting was trained{longest} {how}; the mean {mean} over {seeds} chose one for each"
        + (
            ", and the same seeds are compared. The test part was not looked at for that choice."
            if objective.has_test_part
            else "."
        )
    ]
    lora = [choice for choice in choices if choice.arm.role is Role.ADAPTER and choice.ratio is not None]
    ratios = {choice.arm.setting.label: ratio_text(choice.ratio or 0.0) for choice in lora}
    titles = {choice.arm.setting.title for choice in lora}
    # The only rate that was tried is not the best of any.
    compared = [*lora, *(choice for choice in choices if choice.arm.role is Role.REFERENCE)]
    rate = "best rate" if all(len(choice.tried) > 1 for choice in compared) else "rate"
    whose = f"{titles.pop()}'s {rate}" if len(titles) == 1 else f"The adapters' {rate}"
    reference = reference_name(next((c.arm for c in choices if c.arm.role is Role.REFERENCE), None))
    if len(set(ratios.values())) == 1:
        times = next(iter(ratios.values()))
        ratio = f"{'' if times == '1' else f'{times} times '}that of {reference}"
        sentences.append(f"{whose} is {ratio}{', at every rank' if len(ratios) > 1 else ''}.")
    elif ratios:
        words = listed([f"{times} ({label})" for label, times in ratios.items()])
        sentences.append(f"{whose}, as a multiple of that of {reference}: {words}.")
    return " ".join(sentences)


def end_sentences(choices: Iterable[RateChoice]) -> list[str]:
    """A warning for each rate that is the first or last of those tried: a better one may lie beyond it."""
    return [
        f"{each.arm.learning_rate:g} is the {each.at_end} learning rate tried for {each.arm.setting.label}"
        f"{each.epochs_words}: a better one may lie beyond it."
        for each in choices
        if each.at_end
    ]


def ratio_text(ratio: float) -> str:
    """A ratio to two digits, as in ``5`` or ``0.32``."""
    return f"{float(f'{ratio:.2g}'):g}"


RATES_OFFERED = tuple(grid_rate(k) for k in range(-12, 0))
"""Learning rates that sweeps try and experiments can be grown by: the points of the grid from 0.0000316 to 0.316."""


def longer(rows: Sequence[Row]) -> list[Recipe]:
    """The settings of an answer for three times as many epochs as the most that were tried, also at the neighboring
    learning rates where no search finds these; none where nothing was chosen.

    Raises:
        SpecError: that many epochs are out of bounds.
    """
    found: list[Recipe] = []
    for arms in comparisons_of(rows):
        for arm in winners(arms):
            alike = [other for other in arms if other.setting.group == arm.setting.group]
            group = sorted(alike, key=lambda other: other.learning_rate)
            place = [other.key for other in group].index(arm.key)
            around = [arm] if arm.rows[0].plan is not None else group[max(0, place - 1) : place + 2]
            if arm.role in (Role.REFERENCE, Role.ADAPTER):
                epochs = LONGER * most_epochs(arm)
                found += [(other.spec.optim.but(epochs=epochs, patience=0), other.spec.method) for other in around]
    return list(dict.fromkeys(found))


def rates_beside(rows: Sequence[Row]) -> tuple[float, ...]:
    """The neighbors of chosen learning rates that were not tried, ascending: beyond a chosen one that is the first or
    last of those tried, and where none of these is half a decade away. What is searched for is found by the search.
    """
    found = set[float]()
    for choice in rate_choices(rows):
        if choice.ranked and not choice.is_searched and choice.arm.role in (Role.REFERENCE, Role.ADAPTER):
            rate = choice.arm.learning_rate
            above = {other > rate for other in choice.tried if are_neighbors(other, rate)}
            found |= {beside for beside in neighbors_of(rate) if (beside > rate) not in above}
    return tuple(sorted(found))


def extended(
    settings: Sequence[Recipe],
    ranks: Sequence[int] = (),
    kinds: Sequence[str] = (),
    rates: Sequence[float] = (),
    network: NetworkSpec | None = None,
) -> list[Recipe]:
    """The settings of an experiment with more ranks, methods and learning rates, each budget kept equal.

    A new rank gets every alpha and learning rate that adapters have, and so does a new method with adapters at every
    rank; full fine-tuning and a new control get as many rates as the first setting's method has, of the grid around
    their own; a new learning rate is tried by every method and rank.

    Args:
        settings: of the experiment, at least one.
        ranks: to add for adapters.
        kinds: of methods and controls to add, full fine-tuning among them.
        rates: learning rates to add.
        network: the base's, whose family has default rates of its own; None for the first family.

    Returns:
        The old settings first; no setting occurs twice.

    Raises:
        SpecError: a rank or rate is out of bounds.
    """
    known = [*settings, *with_ranks(settings, ranks, network)]
    optim = settings[0][0]
    tried = len({optim.learning_rate for optim, method in settings if method == settings[0][1]})
    for kind in kinds:
        method = method_of(kind)
        rate = default_rate(method, network or FAMILIES[0])
        own: list[Recipe] = [(optim_for(method, optim.but(learning_rate=rate)), method)]
        like = [(optim, adapter) for optim, adapter in known if adapter.role is Role.ADAPTER]
        if method.role is Role.ADAPTER and like:
            known += [(optim, method.with_settings_of(adapter)) for optim, adapter in like]
        else:
            known += tuned_arms(own, tried) if tried > 1 else own
    known += [(optim.but(learning_rate=rate), method) for rate in rates for optim, method in known]
    return list(dict.fromkeys(known))
