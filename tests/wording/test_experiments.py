"""Experiments that nobody has named say what was trained, on what, with how many seeds."""

from __future__ import annotations

import pytest

from core.data.task_spec import TaskSpec
from core.methods.dora import DoRASpec
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.networks.transformer import TransformerSpec
from core.plan.experiment import Recipe, arm_specs, every
from core.run_spec import OptimSpec, RunSpec
from core.wording.tasks import MAX_NAME, experiment_name
from tests.conftest import DIGITS, TURNED

FULL: Recipe = (OptimSpec.of(), FullSpec())


def lora(*ranks: int, rate: float = 0.005, alpha: float = 8.0) -> list[Recipe]:
    return [(OptimSpec.of(learning_rate=rate), LoRASpec.of(rank=rank, alpha=alpha)) for rank in ranks]


def specs(arms: list[Recipe], seeds: int = 8, task: TaskSpec = TURNED, source: TaskSpec = DIGITS) -> list[RunSpec]:
    base = RunSpec.of(method="pretrain", task=source)
    return arm_specs("r-1", base, every(arms, range(seeds), task), "auto")


@pytest.mark.parametrize(
    ("runs", "name"),
    [
        (specs([FULL, *lora(16, 1, 4)]), "Digits → rotated 45° · r 1, 4, 16 · 8 seeds"),
        (specs([FULL], seeds=1), "Digits → rotated 45° · full · 1 seed"),
        (specs([FULL, *lora(4)], task=DIGITS), "Digits → same task · r 4 · 8 seeds"),
        (specs([FULL, *lora(4)], task=DIGITS, source=TURNED), "Digits, rotated 45° → Digits · r 4 · 8 seeds"),
        (
            specs([FULL], task=TURNED.but(shots=10, invert=True), source=TURNED),
            "Digits, rotated 45° → inverted, 10 per class · full · 8 seeds",
        ),
        (
            specs([FULL], source=TaskSpec.of(dataset="mnist"), task=TaskSpec.of(dataset="fashion-mnist", invert=True)),
            "MNIST → Fashion-MNIST, inverted · full · 8 seeds",
        ),
        (
            specs(
                [FULL],
                source=TaskSpec.of(dataset="emnist-letters", classes=(0, 1, 2)),
                task=TaskSpec.of(dataset="emnist-letters", classes=(3, 4)),
            ),
            "EMNIST-letters, classes 0–2 → classes 3–4 · full · 8 seeds",
        ),
        (
            specs([FULL, (OptimSpec.of(), "scratch"), (OptimSpec.of(), "head")], seeds=2),
            "Digits → rotated 45° · head only, from scratch · 2 seeds",
        ),
        (
            specs([FULL, *lora(4, rate=0.001), *lora(4, rate=0.003), *lora(8), *lora(8, alpha=2.0)]),
            "Digits → rotated 45° · r 4, 8 · 2 rates · 2 alphas · 8 seeds",
        ),
        (specs([FULL, *lora(*range(1, 20))]), "Digits → rotated 45° · 19 ranks · 8 seeds"),
        (
            specs([FULL, *lora(4), (OptimSpec.of(), DoRASpec.of(rank=8)), (OptimSpec.of(), DoRASpec.of(rank=4))]),
            "Digits → rotated 45° · LoRA, DoRA r 4, 8 · 8 seeds",
        ),
    ],
)
def test_a_name_says_what_is_new_and_what_was_tried(runs: list[RunSpec], name: str) -> None:
    assert experiment_name(runs) == name
    assert experiment_name(runs[::-1]) == name


def test_a_network_that_was_brought_is_named_without_its_owner() -> None:
    model = "sentence-transformers/all-MiniLM-L6-v2"
    network = TransformerSpec(weights=64 * "0", model=model, config='{"model_type": "bert"}')
    task = TaskSpec.of(dataset="definitions")
    runs = arm_specs(None, network, every([FULL, *lora(4)], range(2), task), "auto")
    assert experiment_name(runs) == "all-MiniLM-L6-v2 → Definitions · r 4 · 2 seeds"


def test_a_name_is_never_too_long_and_always_says_the_seeds() -> None:
    many = TaskSpec.of(dataset="emnist-letters", classes=tuple(range(0, 600, 7)))
    name = experiment_name(specs([FULL, *lora(1, 2, 4)], task=many, source=TaskSpec.of(dataset="emnist-letters")))
    assert len(name) == MAX_NAME
    assert name.endswith("… · r 1, 2, 4 · 8 seeds")
