"""Activations that are computed again give the same gradients, and need not be kept."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from core.engine.jobs.choice import stepper_of
from core.engine.jobs.run_memory import step_bytes
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.methods.registry import method_of
from core.objectives.language import LanguageSpec
from core.objectives.registry import CLASSIFICATION
from core.run_spec import OptimSpec
from core.training.frozen import block_list
from tests.conftest import some_of
from tests.training import tiny_passages, tiny_texts

OPTIM = OptimSpec.of(batch_size=8, learning_rate=0.003, clip=1.0, accumulation=2)
STEPS = 3
METHODS: dict[str, MethodSpec] = {
    "full": method_of("full"),
    "lora": LoRASpec.of(rank=2, target_modules=("all-linear",)),
    "last block": LoRASpec.of(rank=2),
}
NAMES = (
    "llama",
    "qwen2",
    "gpt2",
    *(f"classes of {kind}" for kind in ("bert", "deberta-v2", "modernbert", "gpt2", "llama")),
)
"""Language models, and classifiers with dropout. Only those of BERT's kind have a shorter last block."""


def trained(name: str, what: str, optim: OptimSpec, dtype: torch.dtype) -> tuple[Tensor, list[Tensor], int]:
    """Losses, tensors, and how often the last block ran in three steps of a language model, or of a classifier with
    dropout.
    """
    if name in tiny_passages.CONFIGS:
        network, task, objective = tiny_passages.network_of(name, dtype=dtype), tiny_passages.task_of(), LanguageSpec()
    else:
        spec = tiny_texts.spec_of(name.removeprefix("classes of "), dropout=0.1)
        network, task, objective = tiny_texts.network_of(spec, dtype=dtype), tiny_texts.task_of(), CLASSIFICATION
    method = METHODS[what]
    if what == "last block":
        method = method.but(target_modules=tiny_texts.layers_of(network, -1)[:1])
    method.prepare(network, torch.Generator().manual_seed(1))
    inside = next(module for module in block_list(network)[1][-1].modules() if "Norm" in type(module).__name__)
    seen: list[None] = []
    inside.register_forward_hook(lambda *_: seen.append(None))
    stepper = stepper_of([network], method.kind, [optim], [0], task, objectives=[objective])
    seen.clear()  # what it tried
    losses = stepper.advance(tiny_texts.batches(task, STEPS))
    return losses, stepper.trained(0), len(seen)


@pytest.mark.parametrize(
    ("what", "dtype", "tolerance"),
    [("full", torch.float64, 1e-9), ("lora", torch.float32, 1e-5), ("last block", torch.float64, 1e-9)],
)
@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_that_of_activations_that_were_kept(
    name: str, what: str, dtype: torch.dtype, tolerance: float
) -> None:
    kept, again = (trained(name, what, OPTIM.but(recompute=recompute), dtype) for recompute in (False, True))
    assert again[2] == 2 * kept[2] > 0
    for one, other in zip((kept[0], *kept[1]), (again[0], *again[1]), strict=True):
        assert (one - other).abs().max() <= tolerance


@pytest.mark.parametrize(
    "name", some_of(zip(["llama", "bert", "gpt2", "deberta-v2"]), lambda name: name in ("llama", "bert"))
)
def test_a_step_needs_less_memory_the_more_blocks_there_are(name: str) -> None:
    """Without recomputing every block adds its activations, and with it hardly more than what enters it."""

    def bytes_of(layers: int, recompute: bool) -> int:
        spec = tiny_texts.spec_of(name, layers=layers, dropout=0.0)
        return step_bytes(spec, METHODS["lora"], OptimSpec.of(recompute=recompute), 8, 32)[0]

    for fewer, more in pairwise((2, 4, 8)):
        kept, again = (bytes_of(more, recompute) - bytes_of(fewer, recompute) for recompute in (False, True))
        assert 0 < again < kept / 4
