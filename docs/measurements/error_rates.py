"""How often an answer errs: ``python -m docs.measurements.error_rates`` draws experiments, and prints tables of errors.

In what is drawn nothing differs, or all falls short by just the margin, so each claim is a false one. It is tested by
the functions that answers are tested by, at the levels that looks have. A cell is the percentage of experiments with a
false claim at any of their looks. Values are percent of test examples, differences points.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from core.networks.perceptron import PerceptronSpec
from core.objectives.classification import macro_f1, macro_f1_of_each
from core.objectives.measure import Answers
from core.plan.budget import Search
from core.plan.search import SEARCH_SEEDS, default_search
from core.results.grid import LONGER, best_rate, fewest_good, grid_rate, is_third, mean_of
from core.rule.candidate import leaning
from core.rule.claims import is_lopsided
from core.rule.family import Compared, Crossed, crossed, family_p, holm, p_values, within_p
from core.rule.spending import CLAIM_SEEDS, level_of

Rng = np.random.Generator
Values = NDArray[np.float64]
Looks = Sequence[int]
"""Numbers of seeds at which somebody looks, until something is shown."""
Level = Callable[[int, Looks], float]
"""The two-sided level of a look, from its number of seeds and those of earlier looks."""
Found = Mapping[int, Sequence[float]]
"""The smallest p-value among the settings of one experiment, by number of seeds, for each kind of claim."""
Row = tuple[str, Values]
"""Of a table: its title, and percentages."""

MARGIN = 0.5
TWO_SIDED, ONE_SIDED = 1.0, 0.5
"""The share of a look's level at which a claim is tested: that of a difference, and that of being within the margin."""

PATTERNS: tuple[Looks, ...] = ((8,), (16,), (8, 16), (8, 16, 32), range(6, 17), range(3, 65))
EXAMPLES_PATTERNS: tuple[Looks, ...] = ((8,), (16,), (8, 16, 32))
TUNED_PATTERNS: tuple[Looks, ...] = ((8,), (16,), (8, 16), (8, 12, 16, 32))
PROBABLE_LOOKS: tuple[Looks, ...] = ((3,), range(3, 7), (7,), (8,), (16,), (8, 16))

SPREADS = {16: (8.7, 1.8, 23.3), 1: (22.5, 1.72, 28.9)}
"""By rank: standard deviations over examples, over seeds and of the rest, of LoRA minus full fine-tuning on digits."""
RATE_EFFECTS = {"middle": (0, -0.3, -0.6, -2, -5), "flat": (0, -0.1, -0.2, -0.5, -2), "peaked": (-1, 0, -1, -4, -9)}
"""Points that each of five learning rates adds, the same for all methods."""
EPOCH_EFFECTS: Mapping[str, Callable[[float], float]] = {
    "flat": lambda triplings: 0.0,
    "levels off": lambda triplings: -2 * 3.0**-triplings,
    "overfits": lambda triplings: -0.5 * triplings**2,
    "half a margin for each tripling": lambda triplings: MARGIN / 2 * triplings,
    "a margin for each tripling": lambda triplings: MARGIN * triplings,
}
"""Points that a number of epochs adds, by how many times it is the asked one tripled, the same for all methods."""
ASKED, LOWER_RATE, RATE_CURVE = 10, 0.5, 0.4
"""Epochs that a search begins with; steps of the grid by which the best rate is lower for three times as many; points
that a rate loses with the square of its distance from the best one, in these steps."""
EVALUATION_SPREADS = (0.3, 0.8)
TUNE = default_search(PerceptronSpec)
EPOCH_SEEDS = 8
EPOCH_CLAIMS = ("differ, rates alone", "differ, and epochs", "within, rates alone", "within, and epochs")
RATES_AROUND, AROUND = 3, 5
"""Of a method what it chose and its neighboring rates, and the same with the neighboring numbers of epochs."""
RUN_SPREAD, SEED_SPREAD, VALIDATION_SPREAD = 0.5, 0.3, 0.8
"""Standard deviations of tuned runs: of a run alone, of all runs of a seed together, and of the validation part."""
NOISES: Mapping[str, Callable[[Rng, int], Values]] = {
    "exponential": lambda rng, n: rng.exponential(1, n) - 1,
    "lognormal": lambda rng, n: rng.lognormal(0, 1, n) - math.exp(0.5),
    "a tenth of runs fail by 10 points": lambda rng, n: rng.normal(1, 0.7, n) - 10 * (rng.random(n) < 0.1),
}
"""Differences of n seeds, of mean 0, where the runs of one method are skewed or fail."""
TUNED_CLAIMS = ("differ, chosen rates", "differ, methods", "within, chosen rates", "within, methods")
TUNED_PARTS = (TWO_SIDED, TWO_SIDED, ONE_SIDED, ONE_SIDED)
CLASS_SHARES = np.array([0.01, 0.01, 0.015, 0.02, *[0.945 / 6] * 6])
RARE = CLASS_SHARES <= 0.02
EASE, RARE_EASE, EXAMPLE_SPREAD, OWN_SPREAD, RUN_CLASS_SPREAD = 4.0, 2.0, 2.0, 1.0, 0.3
"""Logits of a right label: means of common and of rare classes; standard deviations of an example for both methods, of
an example for one method, and of a class in one run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, and print one table after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000, help="experiments drawn for each line")
    tables = {
        "looks": looks_table,
        "probably": probable_table,
        "skewed": skewed_table,
        "examples": examples_table,
        "tuned": tuned_table,
        "epochs": epochs_table,
        "macro-f1": macro_f1_table,
    }
    parser.add_argument("tables", nargs="*", default=[*tables], help=f"some of: {', '.join(tables)}")
    options, begin = parser.parse_args(arguments), time.perf_counter()
    trials, rng = options.trials, np.random.default_rng(0)
    print(f"{trials:,} experiments: of 4 % the standard error is {100 * math.sqrt(0.04 * 0.96 / trials):.2f} points.")
    for name in options.tables:
        print(f"\n{tables[name](rng, trials)}", flush=True)
    print(f"\n{time.perf_counter() - begin:.0f} s")
    return 0


def untuned(rng: Rng, settings: int, seeds: Looks, trials: int) -> Iterator[Found]:
    """Settings without tuning and with normal noise: differences that have a standard deviation of 1 and share full
    fine-tuning, so that their correlation is 0.5. Yields p-values of *shown*, where nothing differs, and of *within*,
    where all settings are worse by the margin.
    """
    for _ in range(trials):
        d = _minus_full(rng, settings, max(seeds), 1)
        yield {n: (min(family_p(list(d[:, :n]))), min(within_p(list(d[:, :n] - MARGIN), MARGIN))) for n in seeds}


def probable(rng: Rng, effects: Sequence[float], settings: int, trials: int) -> Values:
    """How often an answer says *Probably* although nothing differs, in percent: at each of :data:`PROBABLE_LOOKS`.

    Each method has the learning rate that is best on the validation part, and the answer is about the setting that is
    best there. With 3 to 6 seeds it has to lean; with more its interval has to exclude 0 and nothing is shown.

    Args:
        rng: draws.
        effects: of each learning rate, in points, the same for all methods; one where none is found.
        settings: number of ranks beside full fine-tuning.
        trials: number of experiments.
    """
    said = []
    for _ in range(trials):
        tested, validated = _tuned_runs(rng, effects, max(map(max, PROBABLE_LOOKS)), settings)
        says = {
            n: _is_probable(tested[..., :n], validated[..., :n]) for n in {n for own in PROBABLE_LOOKS for n in own}
        }
        said.append([any(says[n] for n in looks) for looks in PROBABLE_LOOKS])
    return np.asarray(100 * np.mean(said, 0))


def _is_probable(tested: Values, validated: Values) -> bool:
    """Whether an answer says *Probably* at a first look. Args: (methods, rates, n) values on both parts."""
    means, n = validated.mean(-1), tested.shape[-1]
    compared = _compared(tested, means.argmax(-1).tolist())
    told = int(means.max(-1)[1:].argmax())
    if n < CLAIM_SEEDS:
        return leaning([each.chosen[:, 0].tolist() for each in compared])[told]
    is_shown = min(family_p([each.chosen for each in compared])) <= level_of(n)
    found = crossed(compared[told].chosen)
    return not is_shown and abs(found.mean) > found.interval().half_width


def on_new_examples(
    rng: Rng, spreads: Sequence[float], examples: int, seeds: Looks, trials: int, settings: int = 3
) -> Iterator[Found]:
    """Settings that differ on the test examples at hand only, not on others. Yields p-values of *shown*."""
    for _ in range(trials):
        drawn = analyzed(rng, spreads, examples, seeds, settings)
        yield {n: (min(holm([each.p for each in found])),) for n, found in drawn}


def skewed(rng: Rng, noise: str, seeds: Looks, trials: int) -> Iterator[Found]:
    """A setting whose mean is that of full fine-tuning, with one of :data:`NOISES`. Yields p-values of *shown*, and the
    same where mean and median are on one side of 0, without which no sentence says *Use*.
    """
    for _ in range(trials):
        d = NOISES[noise](rng, max(seeds))
        p = {n: family_p([d[:n, None]])[0] for n in seeds}
        yield {n: (own, 1.0 if is_lopsided(d[:n].tolist()) else own) for n, own in p.items()}


def analyzed(
    rng: Rng, spreads: Sequence[float], examples: int, seeds: Looks, settings: int
) -> Iterator[tuple[int, list[Crossed]]]:
    """Draw what an analysis finds in differences by seed and test example, the same examples at each number of seeds:
    not the differences, which would be millions, but their means over the examples, and their mean squares, which are
    multiples of χ² in the model with random effects. Yields a number of seeds, and the analyses.
    """
    of_examples, of_seeds, of_rest = spreads
    means = of_examples / math.sqrt(examples) * _minus_full(rng, settings, 1)
    means = means + math.sqrt(of_seeds**2 + of_rest**2 / examples) * _minus_full(rng, settings, max(seeds))
    by_example = rng.chisquare(examples - 1, settings) / (examples - 1)
    for n in seeds:
        df = (n - 1) * (examples - 1)
        ms_rest = of_rest**2 * rng.chisquare(df, settings) / df
        rows = zip(means[:, :n], (n * of_examples**2 + of_rest**2) * by_example, ms_rest, strict=True)
        found = [Crossed(float(own.mean()), n, examples, examples * own.var(ddof=1), *ms) for own, *ms in rows]
        yield n, found


def tuned(rng: Rng, effects: Sequence[float], seeds: Looks, trials: int, ranks: int = 3) -> Iterator[Found]:
    """Full fine-tuning and LoRA at some ranks, all equally good, each at the rate that is best on the validation part.
    Yields p-values of :data:`TUNED_CLAIMS`; those of *within* are of LoRA worse by the margin at all rates.
    Args: effects: of each rate, in points.
    """
    behind = np.array([0, *[MARGIN] * ranks])[:, None, None]
    for _ in range(trials):
        tested, validated = _tuned_runs(rng, effects, max(seeds), ranks)
        p = {}
        for n in seeds:
            best = validated[..., :n].mean(-1).argmax(-1).tolist()
            equal = p_values(_compared(tested[..., :n], best), MARGIN)
            worse = p_values(_compared((tested - behind)[..., :n], best), MARGIN)
            differ = [(each.differs, each.methods_differ) for each in equal]
            within = [(each.within, each.methods_within) for each in worse]
            p[n] = (*np.min(differ, 0), *np.min(within, 0))
        yield p


def _tuned_runs(rng: Rng, effects: Sequence[float], seeds: int, ranks: int) -> tuple[Values, Values]:
    """(methods, rates, seeds) values on the test and validation parts, full fine-tuning first, all equally good."""
    own = rng.normal(0, RUN_SPREAD, (ranks + 1, len(effects), seeds))
    tested = own + rng.normal(0, SEED_SPREAD, seeds) + np.array(effects)[:, None]
    return tested, tested + rng.normal(0, VALIDATION_SPREAD, tested.shape)


def with_epochs(
    rng: Rng, effect: Callable[[float], float], noise: float, trials: int
) -> Iterator[tuple[Found, Values]]:
    """Full fine-tuning and LoRA at three ranks, all equally good, whose rates and epochs are found, with eight seeds.

    Yields p-values of :data:`EPOCH_CLAIMS`, not below what :meth:`Searched.held` says; and whether the 95 % interval of
    each difference misses that of the means.

    Args:
        rng: draws.
        effect: one of :data:`EPOCH_EFFECTS`.
        noise: standard deviation that the validation part adds.
        trials: number of experiments.
    """
    for _ in range(trials):
        shared = rng.normal(0, SEED_SPREAD, EPOCH_SEEDS)
        full, *others = (Searched(rng, effect, noise, shared) for _ in range(4))
        found: list[float] = []
        for behind in (0.0, MARGIN):
            for around in (RATES_AROUND, AROUND):
                tests = p_values([own.beside(full, behind, around) for own in others], MARGIN)
                p = [each.methods_within if behind else each.methods_differ for each in tests]
                found.append(min(max(each, own.held(full, behind)) for own, each in zip(others, p, strict=True)))
        seen = [(own.beside(full, 0.0, 1).chosen, own.truth - full.truth) for own in others]
        missed = [abs(crossed(each).mean - truth) > crossed(each).interval().half_width for each, truth in seen]
        yield {EPOCH_SEEDS: found}, np.array(missed)


class Searched:
    """A method whose rates and epochs are found by the search of plans."""

    def __init__(self, rng: Rng, effect: Callable[[float], float], noise: float, shared: Values) -> None:
        """Train all that is wanted. Args: see :func:`with_epochs`; shared: (seeds,) what all runs of a seed have."""
        self._effect, seeds = effect, tuple(range(len(shared)))
        search = Search(seeds[:SEARCH_SEEDS], seeds, 1.0, MARGIN, TUNE.shorter, TUNE.longer)
        tested: dict[tuple[int, float], Values] = {}
        results: dict[int, dict[float, dict[int, float | None]]] = {}
        while True:
            wanted = search.wanted([(ASKED, grid_rate(-6))], results)
            places = [(n, rate, seed) for n, rates in wanted.items() for rate, own in rates.items() for seed in own]
            missing = [at for at in places if at[2] not in results.get(at[0], {}).get(at[1], {})]
            if not missing:
                break
            for epochs, rate, seed in missing:
                if (epochs, rate) not in tested:
                    own_runs = rng.normal(0, RUN_SPREAD, len(shared))
                    tested[epochs, rate] = self.worth(epochs, rate) + shared + own_runs
                validated = float(tested[epochs, rate][seed] + rng.normal(0, noise))
                results.setdefault(epochs, {}).setdefault(rate, {})[seed] = validated
        whole = {n: [rate for rate, own in rates.items() if own == seeds] for n, rates in wanted.items()}
        best = {n: best_rate(rates, seeds, results[n], 1.0) or 0.0 for n, rates in whole.items() if rates}
        means = {n: mean_of(rate, seeds, results[n]) or 0.0 for n, rate in best.items()}
        self.epochs = fewest_good(means, MARGIN, 1.0) or ASKED
        self.rate = best[self.epochs]
        self._whole = {n: tested[n, rate] for n, rate in best.items()}
        self.is_last = self.epochs == ASKED * LONGER**TUNE.longer
        place = round(2 * math.log10(self.rate))
        rates = [(self.epochs, grid_rate(place + step)) for step in (0, -1, 1)]
        rates = [at if at[1] in whole[at[0]] else (0, 0.0) for at in rates]
        fewer = next((n for n in best if is_third(n, self.epochs)), 0)
        more = next((n for n in best if is_third(self.epochs, n)), 0)
        self._around = [tested.get(at) for at in (*rates, *((n, best.get(n, 0.0)) for n in (fewer, more)))]

    def held(self, full: Searched, behind: float) -> float:
        """What *Use* takes where one of both was trained for as many epochs as may be and the other was not, so that it
        is not known to be settled: that the difference is there at equal epochs. Returns: its p-value; 0 elsewhere.

        Args:
            full: full fine-tuning.
            behind: the method is so much worse; of which it is then asked whether it is good enough.
        """
        if self.is_last == full.is_last:
            return 0.0
        most = max(self.epochs, full.epochs)
        ours, theirs = self._whole.get(most), full._whole.get(most)
        own = self._around[0], full._around[0]
        if ours is None or theirs is None or own[0] is None or own[1] is None:
            return 1.0
        d = (ours - theirs - behind)[:, None]
        if behind:
            return within_p([d], MARGIN)[0]
        return family_p([d])[0] if d.mean() * (own[0] - own[1]).mean() > 0 else 1.0

    def worth(self, epochs: int, rate: float) -> float:
        """The mean of runs with a number of epochs and a learning rate."""
        triplings = math.log(epochs / ASKED, LONGER)
        off = 2 * math.log10(rate) + 6 + LOWER_RATE * triplings
        return self._effect(triplings) - RATE_CURVE * off**2

    @property
    def truth(self) -> float:
        """The mean of runs with what was chosen."""
        return self.worth(self.epochs, self.rate)

    def beside(self, full: Searched, behind: float, around: int) -> Compared:
        """The method minus full fine-tuning. Args: behind: it is so much worse; around: number of settings of each."""

        def minus(ours: Values | None, theirs: Values | None) -> Values | None:
            return None if ours is None or theirs is None else (ours - theirs - behind)[:, None]

        (own, *mine), (reference, *others) = self._around[:around], full._around[:around]
        if (chosen := minus(own, reference)) is None:
            raise ValueError("What is chosen has all seeds.")
        return Compared(chosen, [minus(own, each) for each in others], [minus(each, reference) for each in mine])


def _compared(tested: Values, best: Sequence[int]) -> list[Compared]:
    """The family of (methods, rates, n) values, full fine-tuning first. Args: best: the chosen rate of each method."""
    (full, *others), (at, *chosen) = tested, best

    def minus(own: Values, rate: int, other: int) -> Values | None:
        return (own[rate] - full[other])[:, None] if -1 < rate < len(own) and -1 < other < len(full) else None

    return [
        Compared(
            (own[rate] - full[at])[:, None],
            (minus(own, rate, at - 1), minus(own, rate, at + 1)),
            (minus(own, rate - 1, at), minus(own, rate + 1, at)),
        )
        for own, rate in zip(others, chosen, strict=True)
    ]


def shares(
    experiments: Iterable[Found], patterns: Iterable[Looks], parts: Sequence[float], level: Level = level_of
) -> Values:
    """The percentage of experiments with a claim at any look of a pattern: (patterns, kinds of claim).
    Args: experiments: drawn while they are counted; parts: of the level, for each kind; as :data:`TWO_SIDED`.
    """
    levels = [[(n, level(n, looks[:place])) for place, n in enumerate(looks)] for looks in patterns]

    def claims(p: Found, looks: Iterable[tuple[int, float]]) -> list[bool]:
        return [any(p[n][kind] <= part * at for n, at in looks) for kind, part in enumerate(parts)]

    return np.asarray(100 * np.mean([[claims(p, looks) for looks in levels] for p in experiments], 0))


def _minus_full(rng: Rng, settings: int, *shape: int) -> Values:
    """Settings minus full fine-tuning, of standard deviation 1: (settings, *shape)."""
    values = rng.normal(0, math.sqrt(0.5), (settings + 1, *shape))
    return np.asarray(values[1:] - values[0])


def macro_f1_misses(rng: Rng, examples: int, rare_behind: float, trials: int, seeds: int = 8) -> Values:
    """How often the 95 % interval of a difference in macro-F1 misses that of many more seeds and examples, in percent:
    the interval over seeds and examples, and that over seeds alone.

    Two methods label examples of ten classes, of which :data:`RARE` have 1 to 2 % of the examples. The logit of a right
    label is the sum of the class's mean and of normal effects; a wrong label is one that the example has for all runs.
    Args: examples: of classes as they come; rare_behind: logits by which the second method is worse at rare classes.
    """
    ease = np.where(RARE, RARE_EASE, EASE) - np.array([[0.0], [rare_behind]]) * RARE
    half = rng.normal(0, RUN_CLASS_SPREAD, (8, *ease.shape))
    truth = np.mean([macro_f1(a) - macro_f1(b) for a, b in _labeled(rng, 200_000, ease, [*half, *-half])])
    missed = []
    for _ in range(trials):
        luck = rng.normal(0, RUN_CLASS_SPREAD, (seeds, *ease.shape))
        each = [macro_f1_of_each(a) - macro_f1_of_each(b) for a, b in _labeled(rng, examples, ease, luck)]
        found = [crossed(np.array(each)), crossed(np.mean(each, 1, keepdims=True))]
        missed.append([abs(one.mean - truth) > one.interval().half_width for one in found])
    return np.asarray(100 * np.mean(missed, 0))


def _labeled(rng: Rng, examples: int, ease: Values, luck: Iterable[Values]) -> Iterator[tuple[Answers, Answers]]:
    """What both methods answer to the same examples. Args: ease, luck of each seed: (methods, classes) logits."""
    targets, wrong = rng.choice(len(CLASS_SHARES), (2, examples), p=CLASS_SHARES)
    wrong = np.where(wrong == targets, (targets + 1) % len(CLASS_SHARES), wrong)
    own = rng.normal(0, EXAMPLE_SPREAD, examples) + rng.normal(0, OWN_SPREAD, (2, examples))
    for of_run in luck:
        right = rng.random(own.shape) < expit((ease + of_run)[:, targets] + own)
        a, b = np.where(right, targets, wrong)
        yield Answers(a, targets), Answers(b, targets)


def looks_table(rng: Rng, trials: int) -> str:
    """False claims by when somebody looks."""
    rows: list[Row] = []
    for settings in (1, 3, 6):
        found = shares(untuned(rng, settings, range(3, 65), trials), PATTERNS, (TWO_SIDED, ONE_SIDED))
        rows += zip((f"{claim}, settings: {settings}" for claim in ("shown", "within")), found.T, strict=True)
    return _table(["Looks at", *map(_named, PATTERNS)], rows)


def probable_table(rng: Rng, trials: int) -> str:
    """How often *Probably* is said of methods that are equal."""
    rows: list[Row] = []
    for name, effects in {
        "rates given": (0.0,),
        **{f"{name} rates found": own for name, own in RATE_EFFECTS.items()},
    }.items():
        rows += [(f"{name}, settings: {m}", probable(rng, effects, m, trials)) for m in (1, 3)]
    return _table(["Looks at", *map(_named, PROBABLE_LOOKS)], rows)


def skewed_table(rng: Rng, trials: int) -> str:
    """False claims where the runs of one method are skewed or fail, and those that say *Use*."""
    seeds = (8, 16)
    drawn = {noise: skewed(rng, noise, seeds, trials) for noise in NOISES}
    found = {noise: shares(own, [(n,) for n in seeds], (TWO_SIDED, TWO_SIDED)) for noise, own in drawn.items()}
    head = [f"{claim}, {n} seeds" for n in seeds for claim in ("shown", "*Use*")]
    return _table(["Runs of one method", *head], [(noise, own.ravel()) for noise, own in found.items()])


def examples_table(rng: Rng, trials: int) -> str:
    """False claims about other test examples."""
    rows: list[Row] = []
    for rank, spreads in SPREADS.items():
        for examples in (360, 1000, 10_000):
            experiments = on_new_examples(rng, spreads, examples, (8, 16, 32), trials)
            found = shares(experiments, EXAMPLES_PATTERNS, (TWO_SIDED,))
            rows.append((f"shown, spreads of rank {rank}, {examples:,} examples", found[:, 0]))
    return _table(["Looks at", *map(_named, EXAMPLES_PATTERNS)], rows)


def tuned_table(rng: Rng, trials: int) -> str:
    """False claims after tuning."""
    rows: list[Row] = []
    for name, effects in RATE_EFFECTS.items():
        found = shares(tuned(rng, effects, (8, 12, 16, 32), trials), TUNED_PATTERNS, TUNED_PARTS)
        rows += zip([f"{name}: {claim}" for claim in TUNED_CLAIMS], found.T, strict=True)
    return _table(["Looks at", *map(_named, TUNED_PATTERNS)], rows)


def epochs_table(rng: Rng, trials: int) -> str:
    """False *Use* after rates and epochs were found, and how often intervals miss, where 5 % are meant."""
    rows: list[Row] = []
    for name, effect in EPOCH_EFFECTS.items():
        for noise in EVALUATION_SPREADS:
            drawn = list(with_epochs(rng, effect, noise, trials))
            parts = (TWO_SIDED, TWO_SIDED, ONE_SIDED, ONE_SIDED)
            found = shares((p for p, _ in drawn), [(EPOCH_SEEDS,)], parts)[0]
            missed = 100 * np.mean([missed for _, missed in drawn])
            rows.append((f"{name}, validation {noise:g}", np.array([*found, missed])))
    return _table(["Rates and epochs found", *EPOCH_CLAIMS, "the interval misses"], rows)


def macro_f1_table(rng: Rng, trials: int) -> str:
    """How often intervals of macro-F1 miss, where 5 % are meant."""
    rows: list[Row] = []
    for examples in (360, 1000):
        for words, behind in (("equal methods", 0.0), ("one worse at rare classes", 1.0)):
            rows.append((f"{examples:,} examples, {words}", macro_f1_misses(rng, examples, behind, trials)))
    return _table(["Macro-F1: the 95 % interval misses", "over seeds and examples", "over seeds alone"], rows)


def _named(looks: Looks) -> str:
    return f"each of {looks[0]} to {looks[-1]}" if isinstance(looks, range) else ", ".join(map(str, looks))


def _table(head: Sequence[str], rows: Iterable[Row]) -> str:
    lines = [[*head], ["---", *["---:"] * (len(head) - 1)]]
    lines += [[title, *(f"{own:.1f}" for own in found)] for title, found in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
