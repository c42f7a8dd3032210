"""Weights that are drawn from a seed are the seed's, whatever other threads draw from torch's global generator."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from core.networks.hugging_face import architecture, build_classifier, fill_classifier
from core.networks.own_generator import OwnGenerator
from tests.networks.tiny import tiny_config


@contextmanager
def somebody_draws() -> Iterator[None]:
    """Another thread draws from the global generator all the time, and seeds it now and then."""
    ended = threading.Event()

    def draw() -> None:
        while not ended.is_set():
            torch.manual_seed(1)
            for _ in range(50):
                torch.rand(3)

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


CONFIG = architecture(json.loads(tiny_config("bert").to_json_string()))
CPU = torch.device("cpu")


def test_a_head_and_a_network_are_their_seeds_beside_another_thread() -> None:
    whole = build_classifier(CONFIG, 3, CPU, 5).state_dict()
    weights = {name: tensor for name, tensor in whole.items() if not name.startswith("classifier")}
    head = fill_classifier(CONFIG, 3, weights, 7)[0].state_dict()["classifier.weight"]
    with somebody_draws():
        for _ in range(10):
            again = build_classifier(CONFIG, 3, CPU, 5).state_dict()
            assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())
            assert torch.equal(fill_classifier(CONFIG, 3, weights, 7)[0].state_dict()["classifier.weight"], head)
    assert not torch.equal(fill_classifier(CONFIG, 3, weights, 8)[0].state_dict()["classifier.weight"], head)


def test_the_global_generator_is_as_it_was() -> None:
    before = torch.get_rng_state()
    build_classifier(CONFIG, 3, CPU, 5)
    with OwnGenerator(3):
        torch.rand(4)
        torch.empty(3).normal_()
    assert torch.equal(torch.get_rng_state(), before)


def test_its_numbers_are_those_of_the_global_generator_after_seeding() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        expected = [torch.rand(5), torch.empty(7).normal_(), torch.randperm(9), torch.empty(3).uniform_(-1, 1)]
    with OwnGenerator(11):
        found = [torch.rand(5), torch.empty(7).normal_(), torch.randperm(9), torch.empty(3).uniform_(-1, 1)]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", ["rand_like", "randn_like", "randint_like"])
def test_meta_tensors_draw_nothing(name: str) -> None:
    with OwnGenerator(0):
        like = getattr(torch, name)
        args = (torch.empty(3, device="meta"), *((4,) if "randint" in name else ()))
        assert like(*args).is_meta
