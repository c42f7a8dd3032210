"""Memory of the code that oneDNN generates: as many shapes are forecast as training and evaluating multiply."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from core.data.examples import Task
from core.engine.jobs.choice import stepper_for
from core.engine.jobs.job import network_of
from core.forecast.kernels import ENTRIES, ENTRY_BYTES, kernel_bytes
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.methods.linear import has_fast_product
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.networks.network import NetworkSpec
from core.objectives.language import LanguageSpec
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.run_spec import OptimSpec, RunSpec
from core.training.loop import train
from tests.training import tiny_passages, tiny_texts

OPTIM = OptimSpec.of(batch_size=8, epochs=3)

pytestmark = pytest.mark.skipif(not has_fast_product(torch.empty(1)), reason="needs oneDNN")


class Shapes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects the shapes of the products that oneDNN computes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = set[tuple[Any, ...]]()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if "_linear_pointwise" in str(func):
            x, weight = args[:2]
            self.found.add((tuple(x.shape), tuple(weight.shape), weight.stride()))
        return func(*args, **(kwargs or {}))


BERT = tiny_texts.spec_of("bert", max_position_embeddings=512), tiny_texts.task_of(60), CLASSIFICATION
LLAMA = tiny_passages.spec_of("llama"), tiny_passages.task_of(), LanguageSpec()


@pytest.mark.parametrize(
    ("learned", "method"),
    [
        (BERT, FullSpec()),
        (BERT, LoRASpec.of(rank=2)),
        (BERT, HeadSpec()),
        (LLAMA, FullSpec()),
        (LLAMA, LoRASpec.of(rank=2)),
    ],
)
@pytest.mark.parametrize("accumulation", [1, 2])
def test_as_many_shapes_are_forecast_as_are_multiplied(
    learned: tuple[NetworkSpec, Task, ObjectiveSpec], method: MethodSpec, accumulation: int
) -> None:
    network, task, objective = learned
    optim = OPTIM.but(accumulation=accumulation)
    spec = RunSpec.of(method=method, network=network, task=task.spec, objective=objective, optim=optim)
    with Shapes() as shapes:
        stepper = stepper_for([network_of(spec, None)], [spec], task, None)
        stepper.use_threads(1)
        for _ in train(stepper, [optim]):
            pass
        stepper.evaluate(0, "test")
    count = kernel_bytes([spec], task) // (2 * ENTRY_BYTES)
    assert count <= ENTRIES // 2
    assert count == pytest.approx(len(shapes.found), rel=0.2)
