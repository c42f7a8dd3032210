"""Training is the real PEFT's and torch's: same start, same batches, same losses and weights after 50 steps."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.engine.jobs.choice import stepper_of
from core.methods.adapted import adapted_layers
from core.methods.dora import DoRASpec
from core.methods.linear import is_linear
from core.methods.lora import LoRASpec
from core.methods.low_rank import LowRankSpec
from core.methods.method import MethodSpec
from core.methods.registry import method_of
from core.methods.targets import head_paths, is_in_head
from core.networks.forward import forward
from core.run_spec import OptimSpec
from tests.conftest import some_of
from tests.methods.samples import peft_of
from tests.soak.sizes import full_or_short
from tests.training.plain import plainly
from tests.training.tiny_texts import ARCHITECTURES, batches, network_of, spec_of, task_of, texts

STEPS = full_or_short(50, 15)
"""More than the learning rate takes to rise."""
OPTIM = OptimSpec.of(
    batch_size=8, epochs=25, learning_rate=0.003, weight_decay=0.01, warmup=0.1, decay="linear", clip=1.0
)

ROLES = ("attention", "feed-forward", "all-linear")
METHODS: dict[str, MethodSpec] = {name: method_of(name) for name in ("full", "head", "biases")} | {
    f"{name} {role}": method.of(rank=2, alpha=3, target_modules=(role,))
    for name, method in {"lora": LoRASpec, "dora": DoRASpec}.items()
    for role in ROLES
}

EVERYWHERE = {kind: ("full", ("lora attention", "dora all-linear")[n % 2]) for n, kind in enumerate(ARCHITECTURES)}
"""Methods that the whole suite trains on an architecture; BERT with all."""


def theirs(network: nn.Module, method: MethodSpec, adapted: nn.Module) -> tuple[nn.Module, Callable[[], dict]]:
    """The same network as PEFT or torch train it, and a function that returns what was trained by our names.

    Args:
        network: before anything was prepared; changed.
        method: what is trained.
        adapted: the same as our method prepared it.
    """
    heads = head_paths(network)
    if not isinstance(method, LowRankSpec):
        for name, parameter in network.named_parameters():
            parent = network.get_submodule(name.rpartition(".")[0])
            bias = is_linear(parent) and name.endswith(".bias")
            trained = method.kind == "full" or is_in_head(name, heads) or (method.kind == "biases" and bias)
            parameter.requires_grad_(trained)
        return network, lambda: {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    targets = list(adapted_layers(adapted))
    model, layers = peft_of(
        network,
        adapted,
        r=method.rank,
        lora_alpha=method.alpha,
        target_modules=targets,
        modules_to_save=list(heads),
        use_dora=method.kind == "dora",
        fan_in_fan_out=type(network).__name__.startswith("GPT2"),
    )

    def trained() -> dict[str, Tensor]:
        found = {}
        for path in targets:
            found[f"{path}.lora.A"] = layers[path].lora_A["default"].weight.T
            found[f"{path}.lora.B"] = layers[path].lora_B["default"].weight.T
            if method.kind == "dora":
                found[f"{path}.magnitude"] = layers[path].lora_magnitude_vector["default"].weight
        for head in heads:
            saved = model.base_model.model.get_submodule(head).modules_to_save["default"]
            found |= {f"{head}.{name}": parameter for name, parameter in saved.named_parameters()}
        return {name: tensor.detach() for name, tensor in found.items()}

    return model, trained


def check_trained(own: nn.Module, wanted: dict[str, Tensor]) -> None:
    """What was trained of our network is what was trained of theirs."""
    ours = {path: p.detach() for path, p in own.named_parameters() if p.requires_grad}
    assert ours.keys() == wanted.keys()
    for path, tensor in ours.items():
        assert (tensor - wanted[path]).abs().max() < 1e-8, path


@pytest.mark.filterwarnings("ignore:.*fan_in_fan_out.*")
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("kind", "name"),
    some_of(product(ARCHITECTURES, METHODS), lambda kind, name: kind == "bert" or name in EVERYWHERE[kind]),
)
def test_every_step_is_that_of_peft(kind: str, name: str) -> None:
    method, task, rows = METHODS[name], task_of(40), batches(task_of(40), STEPS)
    base = network_of(spec_of(kind, layers=2, dropout=0.0), 0, torch.float64)
    own = method.prepare(copy.deepcopy(base), torch.Generator().manual_seed(1))
    other, trained = theirs(copy.deepcopy(base), method, own)
    stepper = stepper_of([own], method.kind, [OPTIM], [0], task)

    def loss_of(batch: Tensor) -> Tensor:
        return F.cross_entropy(forward(other, task.train.batch(batch)), task.train.labels[batch])

    expected = plainly(other.train(), OPTIM, loss_of, rows[0], total=125)  # 25 epochs of 40 texts
    assert stepper.advance(rows).flatten().tolist() == pytest.approx(expected, rel=1e-9)
    assert abs(expected[-1] - expected[0]) > 1e-3  # something was learned
    check_trained(own, trained())


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_padded_rows_change_nothing(kind: str) -> None:
    """A text has the logits in a batch with longer ones that it has alone; so the pad token of decoders is set."""
    network, examples = network_of(spec_of(kind), 0, torch.float64).eval(), texts(12)
    with torch.no_grad():
        together = forward(network, examples.batch(slice(None)))
        alone = torch.cat([forward(network, examples.batch(slice(i, i + 1))) for i in range(12)])
    assert examples.lengths.unique().numel() > 3
    assert (together - alone).abs().max() < 1e-10
    assert network.config.pad_token_id == examples.padding


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_dropout_is_on_in_training_and_off_in_evaluation(kind: str) -> None:
    task = task_of(40)
    network = network_of(spec_of(kind, dropout=0.2))
    still = network_of(spec_of(kind, dropout=0.0))
    steppers = [stepper_of([each], "full", [OPTIM], [0], task) for each in (network, still)]
    assert steppers[0].evaluate(0)[0] == steppers[1].evaluate(0)[0]
    losses = [stepper.advance(batches(task, 2))[:, 0] for stepper in steppers]
    assert not torch.equal(losses[0], losses[1])
    assert steppers[0].evaluate(0)[0] == steppers[0].evaluate(0)[0]
