"""The perceptron, its fingerprint, and the notebook's loop and metric."""

from __future__ import annotations

import math
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from core import compute_accuracy, train
from core.methods.linear import count_parameters
from core.networks.file import fingerprint
from core.networks.perceptron import PerceptronSpec

SMALL = PerceptronSpec(num_features=6, num_hidden_1=5, num_hidden_2=4, num_classes=3)


def test_the_default_network_has_136074_parameters_named_as_in_the_seed() -> None:
    network = PerceptronSpec().build()
    assert count_parameters(network) == 136_074
    assert [name for name, _ in network.named_parameters()] == [
        f"layers.{i}.{part}" for i in (0, 2, 4) for part in ("weight", "bias")
    ]


def test_without_a_seed_a_network_has_shapes_and_no_memory() -> None:
    assert {p.device.type for p in PerceptronSpec(num_features=4096, num_hidden_1=4096).build().parameters()} == {
        "meta"
    }


def test_a_seed_fixes_the_weights_whatever_others_draw() -> None:
    expected = fingerprint(SMALL.build(seed=3).state_dict())
    before = torch.get_rng_state()
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            torch.rand(100)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        found = {fingerprint(SMALL.build(seed=3).state_dict()) for _ in range(20)}
    finally:
        stop.set()
        thread.join()
    assert found == {expected}
    assert fingerprint(SMALL.build(seed=4).state_dict()) != expected
    torch.set_rng_state(before)
    SMALL.build(seed=5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("layer", [0, 2, 4])
def test_initial_weights_fill_the_bounds_of_torch(layer: int) -> None:
    linear = PerceptronSpec().build(seed=0).layers[layer]
    assert isinstance(linear, nn.Linear)
    bound = 1 / math.sqrt(linear.in_features)
    for values in (linear.weight, linear.bias):
        assert values.abs().max() <= bound
        assert values.requires_grad
    assert linear.weight.abs().max() > 0.99 * bound
    assert linear.weight.mean().abs() < 0.05 * bound


def test_the_network_computes_three_products_with_relu_between() -> None:
    network, x = SMALL.build(seed=1), torch.randn(7, 6)
    w = dict(network.named_parameters())
    hidden = (x @ w["layers.0.weight"].T + w["layers.0.bias"]).clamp(min=0)
    hidden = (hidden @ w["layers.2.weight"].T + w["layers.2.bias"]).clamp(min=0)
    expected = hidden @ w["layers.4.weight"].T + w["layers.4.bias"]
    torch.testing.assert_close(network(x), expected)


# Fingerprints

names = st.text(alphabet="ab. \n0", min_size=1, max_size=6)
dtypes = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8])


@st.composite
def states(draw: st.DrawFn) -> dict[str, Tensor]:
    state = {}
    for name in draw(st.lists(names, max_size=4, unique=True)):
        shape = draw(st.lists(st.integers(0, 3), max_size=3))
        values = torch.tensor(draw(st.lists(st.integers(0, 99), min_size=math.prod(shape), max_size=math.prod(shape))))
        state[name] = values.reshape(shape).to(draw(dtypes))
    return state


@given(states(), states())
def test_two_states_have_one_fingerprint_only_where_they_are_equal(
    one: dict[str, Tensor], two: dict[str, Tensor]
) -> None:
    same = one.keys() == two.keys() and all(
        one[n].dtype == two[n].dtype and one[n].shape == two[n].shape and torch.equal(one[n], two[n]) for n in one
    )
    assert (fingerprint(one) == fingerprint(two)) == same
    assert fingerprint(dict(reversed(one.items()))) == fingerprint({n: t.clone() for n, t in one.items()})


@given(st.data())
def test_one_changed_bit_of_a_network_changes_its_fingerprint(data: st.DataObject) -> None:
    network = SMALL.build(seed=0)
    before = fingerprint(network.state_dict())
    tensor = network.state_dict()[data.draw(st.sampled_from(sorted(network.state_dict())))]
    bits = tensor.view(torch.int32).flatten()
    at, bit = data.draw(st.integers(0, len(bits) - 1)), data.draw(st.integers(0, 30))
    bits[at] ^= 1 << bit
    assert fingerprint(network.state_dict()) != before
    bits[at] ^= 1 << bit
    assert fingerprint(network.state_dict()) == before


def test_a_fingerprint_tells_names_dtypes_shapes_and_the_sign_of_zero_apart() -> None:
    x = torch.zeros(2, 3)
    states = [{"a": x}, {"b": x}, {"a": x.T}, {"a": x.view(torch.int32)}, {"a": -x}, {"a": x.view(6)}, {}]
    zero, one = torch.zeros(1, dtype=torch.uint8), torch.ones(1, dtype=torch.uint8)
    states += [{"a": zero, "b": one}, {"a torch.uint8 (1,)\n\0b": one}]  # a name that looks like another tensor
    assert len({fingerprint(state) for state in states}) == len(states)


# The notebook's metric and loop

Batches = list[tuple[Tensor, Tensor]]


def _batches(seed: int = 0) -> Batches:
    generator = torch.Generator().manual_seed(seed)
    sizes = (5, 5, 3)
    return [
        (torch.rand(n, 1, 2, 3, generator=generator), torch.randint(0, 3, (n,), generator=generator)) for n in sizes
    ]


@pytest.mark.parametrize("training", [True, False])
def test_accuracy_is_the_percentage_of_right_answers_and_changes_nothing(training: bool) -> None:
    network = SMALL.build(seed=2).train(training)
    before = fingerprint(network.state_dict())
    batches = _batches()
    x, y = torch.cat([b[0].flatten(1) for b in batches]), torch.cat([b[1] for b in batches])
    expected = 100 * (network(x).argmax(1) == y).sum().item() / 13
    accuracy = compute_accuracy(network, batches, "cpu")
    assert accuracy.item() == pytest.approx(expected)
    assert accuracy.shape == ()
    assert (network.training, fingerprint(network.state_dict())) == (training, before)
    assert compute_accuracy(network, [], "cpu").item() == 0


def test_a_failing_batch_leaves_the_network_in_its_mode() -> None:
    network = SMALL.build(seed=2).train()
    with pytest.raises(RuntimeError):
        compute_accuracy(network, [(torch.rand(2, 99), torch.zeros(2, dtype=torch.int64))], "cpu")
    assert network.training


def test_the_loop_takes_the_steps_of_a_loop_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = SMALL.build(seed=2), SMALL.build(seed=2)
    adam = torch.optim.Adam(theirs.parameters(), lr=0.01)
    expected = []
    for _ in range(3):
        total = 0.0
        for images, labels in _batches():
            loss = F.cross_entropy(theirs(images.flatten(1)), labels)
            adam.zero_grad()
            loss.backward()
            adam.step()
            total += loss.item() * len(labels)
        expected.append(total / 13)
    history = train(3, ours.eval(), torch.optim.Adam(ours.parameters(), lr=0.01), _batches(), "cpu")
    assert history == pytest.approx(expected, rel=1e-5)
    assert fingerprint(ours.state_dict()) == fingerprint(theirs.state_dict())
    assert ours.training
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines] == ["Epoch 1/3", "Epoch 2/3", "Epoch 3/3"]
    assert f"{history[-1]:.4f}" in lines[-1]


def test_the_loop_trains_only_what_is_trainable() -> None:
    network = SMALL.build(seed=2)
    first = network.layers[0].requires_grad_(False)
    before = fingerprint(first.state_dict())
    train(2, network, torch.optim.Adam(p for p in network.parameters() if p.requires_grad), _batches(), "cpu")
    assert fingerprint(first.state_dict()) == before
