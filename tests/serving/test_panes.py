"""Networks side by side answer as each does alone, and the base stays the base whatever happens beside it."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from core.adapter import AdapterFile, apply_adapter
from core.errors import BaseMismatchError, UnknownRunError
from core.methods.adapted import merged_copy
from core.methods.dora import DoRASpec
from core.methods.layers import alpha_for, scaling_factor
from core.serving.panes import BASE, Panes
from core.training.threads import available_cores
from tests.adapter.samples import SMALL, probe
from tests.serving.test_mixed import ALONE, FILES, SPECS, WITH_HEAD
from tests.serving.test_mixed import BASE as NETWORK

BATCH = {"pixels": probe(rows=9)}


def panes() -> Panes:
    found = Panes(copy.deepcopy(NETWORK), copy.deepcopy(NETWORK))
    for name, file in FILES.items():
        found.add_adapter(name, file)
        found.add_merged(f"{name}-merged", name)
    return found


def logits(network: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = network(BATCH["pixels"])
    return found


def test_each_answers_as_it_does_alone_and_the_base_bit_for_bit() -> None:
    names = [*FILES, *(f"{name}-merged" for name in FILES)]
    answers = panes().answer(BATCH, names)
    assert list(answers.logits) == [BASE, *names]
    assert answers.base_is_base
    assert torch.equal(answers.logits[BASE], logits(NETWORK))
    for name in FILES:
        assert torch.equal(answers.logits[name], logits(ALONE[name]))
        torch.testing.assert_close(answers.logits[f"{name}-merged"], answers.logits[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("factor", [0.0, 0.5, 3.0])
def test_a_strength_is_another_alpha(name: str, factor: float) -> None:
    network, spec = panes(), SPECS[int(name[2:])]
    trained = network.answer(BATCH, [name]).logits[name]
    found = network.answer(BATCH, [name], {name: factor}).logits[name]
    expected = copy.deepcopy(ALONE[name])
    for module in expected.modules():
        if hasattr(module, "lora"):
            wanted = factor * scaling_factor(spec.scaling, spec.alpha, spec.rank)
            assert alpha_for(spec.scaling, wanted, spec.rank) == pytest.approx(factor * spec.alpha)
            module.lora.scaling = wanted
    torch.testing.assert_close(found, logits(merged_copy(expected)), rtol=1e-4, atol=1e-4)
    assert torch.equal(network.answer(BATCH, [name]).logits[name], trained)


def test_what_is_left_at_a_strength_of_zero_is_named_and_nothing_only_for_the_base_itself() -> None:
    network = panes()
    answers = network.answer(BATCH, list(FILES), dict.fromkeys(FILES, 0.0)).logits
    for name in FILES:
        left = network.left_at_zero(name)
        head = ("head",) if name in WITH_HEAD else ()
        assert left == (("magnitudes",) if isinstance(SPECS[int(name[2:])], DoRASpec) else head)
        assert torch.equal(answers[name], answers[BASE]) == (not left)


def test_frozen_weights_are_in_memory_once() -> None:
    network = panes()
    for name in FILES:
        own = {path.replace(".linear.", "."): p for path, p in network._networks[name].named_parameters()}
        base = network._base.named_parameters()
        apart = {path for path, p in base if own[path].data_ptr() != p.data_ptr()}
        assert apart == ({"layers.4.weight", "layers.4.bias"} if name in WITH_HEAD else set())


def test_a_base_that_was_changed_is_told_of() -> None:
    network = panes()
    with torch.no_grad():
        next(iter(network._base.parameters())).add_(1e-3)
    assert not network.answer(BATCH, []).base_is_base


def test_many_may_ask_at_once_with_strengths_of_their_own() -> None:
    network, name = panes(), next(iter(FILES))
    wanted = {factor: network.answer(BATCH, [name], {name: factor}).logits[name] for factor in (0.0, 1.0, 2.0)}
    with ThreadPoolExecutor(4) as pool:
        asked = list(wanted) * 20
        found = list(pool.map(lambda factor: network.answer(BATCH, [name], {name: factor}).logits[name], asked))
    assert all(torch.equal(logits, wanted[factor]) for factor, logits in zip(asked, found, strict=True))


class NotedThreads(nn.Module):
    """A network that notes with how many threads it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.noted.append(torch.get_num_threads())
        return x


def test_each_computes_on_one_core_so_that_bits_do_not_depend_on_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_LAB_CORES", "2")
    noted, before = [NotedThreads() for _ in range(4)], torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        network = Panes(*noted[:2])
        for number, each in enumerate(noted[2:]):
            network.add(str(number), each)
        network.answer(BATCH, ["0", "1"])
    finally:
        torch.set_num_threads(before)
    expected = 1 if available_cores() > 1 else 2
    assert [each.noted for each in noted] == [[expected]] * 4


def test_an_adapter_of_another_base_and_an_unknown_name_are_refused() -> None:
    network = Panes(SMALL.build(2), SMALL.build(2))
    file: AdapterFile = next(iter(FILES.values()))
    with pytest.raises(BaseMismatchError):
        network.add_adapter("r-0", file)
    with pytest.raises(UnknownRunError):
        network.answer(BATCH, ["r-0"])
    assert apply_adapter(NETWORK, file) is not NETWORK
