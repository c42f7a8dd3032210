"""Whether settings that nobody tunes move an answer: ``python -m docs.measurements.settings`` trains what is missing.

Weight decay, warm-up with linear decay, and alpha, on two targets of perceptrons: everything is compared again with
each of them, learning rates and epochs found anew, each seed from a base of its own. An experiment that is in the home
folder already is used again.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.pretrain import PretrainSpec
from core.networks.perceptron import PerceptronSpec
from core.plan.configuration import preset_configuration
from core.plan.experiment import Recipe
from core.plan.search import default_search
from core.rule.claims import off_text
from core.rule.place import Place
from core.run_spec import default_optim
from core.study.report.answer import place_of
from docs.measurements.program import README, options_of, trained, training_lab
from docs.reports.readme import put_between

BEGIN, END = "<!-- written by settings.py -->", "<!-- end of what settings.py writes -->"

DATASET, SHOTS = "mnist-16k", 100
TARGETS = ("rotation-45", "split")
RANKS = (1, 4, 16)
ALPHAS: Mapping[str, Callable[[int], float]] = {
    "alpha 2r": lambda rank: 2.0 * rank,
    "alpha 16√r": lambda rank: 16.0 * math.sqrt(rank),
}
OPTIMS: Mapping[str, Mapping[str, object]] = {
    "as usual: alpha 8, constant rates": {},
    "weight decay 0.01": {"weight_decay": 0.01},
    "weight decay 0.1": {"weight_decay": 0.1},
    "warm-up and linear decay": {"warmup": 0.1, "decay": "linear"},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not there yet, and bring the README up to date."""
    parser = options_of(__doc__, seeds=8)
    parser.add_argument("--dataset", default=DATASET, help="of base and target")
    parser.add_argument("--ranks", type=int, nargs="+", default=RANKS, help="ranks of LoRA")
    options = parser.parse_args(arguments)
    with training_lab(options.home) as lab:
        text = table(lab, options.dataset, options.ranks, range(options.seeds))
        put_between(README, BEGIN, text, END)
    return 0


def variants(ranks: Sequence[int]) -> dict[str, list[Recipe]]:
    """Full fine-tuning and LoRA at some ranks, by what is changed."""
    network = PerceptronSpec()
    full, lora = (default_optim(method, network) for method in (FullSpec, LoRASpec))
    found: dict[str, list[Recipe]] = {
        name: [(full.but(**more), FullSpec()), *((lora.but(**more), LoRASpec.of(rank=rank)) for rank in ranks)]
        for name, more in OPTIMS.items()
    }
    for name, alpha in ALPHAS.items():
        found[name] = [(full, FullSpec()), *((lora, LoRASpec.of(rank=rank, alpha=alpha(rank))) for rank in ranks)]
    return found


def table(lab: Lab, dataset: str, ranks: Sequence[int], seeds: range) -> str:
    """One row per target and change, in Markdown: the accuracy of full fine-tuning, and of each rank the difference."""
    lines = [
        "| Target | Changed | Full | " + " | ".join(f"LoRA r={rank} minus full" for rank in ranks) + " |",
        "| --- | --- | ---: | " + "---: | " * len(ranks),
    ]
    for target in TARGETS:
        for name, arms in variants(ranks).items():
            found = _answer(lab, dataset, target, arms, seeds)
            by_rank = {each.arm.spec.method.size: off_text(each.difference) for each in found.candidates}
            full = found.full.spread(found.full.primary) if found.full is not None else ""
            cells = [by_rank.get(rank, "–") for rank in ranks]
            lines.append(f"| {target} | {name} | {full} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _answer(lab: Lab, dataset: str, target: str, arms: Sequence[Recipe], seeds: range) -> Place:
    """The answer of an experiment with these settings, trained as far as it was not."""
    network = PerceptronSpec()
    more: dict[str, Any] = {"tune": default_search(network), "own_bases": True}
    pretraining = default_optim(PretrainSpec, network)
    asked = preset_configuration(lab.catalog, target, dataset, None, pretraining, arms, seeds, shots=SHOTS, **more)
    return place_of(lab, trained(lab, asked))


if __name__ == "__main__":
    sys.exit(main())
